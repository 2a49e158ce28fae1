"""Closes as of now: those of the bundle, and those that came since its cut.

The functions of training read them, so a close counts from the day after it was made, here too.

Shapes: P closes of the bundle that are still read, N closes since the cut, I items.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.serve.closes import KEPT_DAYS, Close
from tessera.shared.features.prices import MAX_AGE_DAYS, PriceHistory, close_before

_KEPT = 4
"""Days whose prices of all items are kept."""


@dataclass(frozen=True, slots=True)
class Priced:
    """Closes as they are known at one time; what is told later changes nothing of it."""

    closes: PriceHistory
    until: int
    """When the last close since the cut was told; 0 if there is none."""
    cut_day: int
    units: dict[int, Float64s] = field(default_factory=dict)

    def unit_I(self, row_I: Ints, moment: int) -> Float64s:
        """Return what one unit of each item costs, by rows of the model; NaN where nobody knows.

        The last close counts, if it is at most thirty days older than the cut.
        """
        day = moment // DAY_US
        found = self.units.get(day)  # another thread may let go of it at any time
        if found is None:
            age = MAX_AGE_DAYS + max(day - self.cut_day, 0)
            found = close_before(self.closes, row_I, np.full(len(row_I), day), max_age_days=age)
            if len(self.units) >= _KEPT:
                self.units.clear()
            self.units[day] = found
        return found

    @property
    def newest(self) -> int | None:
        """Day of the newest close, None if there is none."""
        return int(self.closes.day_P.max()) if len(self.closes.day_P) else None


class Prices:
    """What one bundle knows of closes."""

    def __init__(self, base: PriceHistory, rows: Mapping[str, int], moment: int) -> None:
        """Begin with what the bundle holds.

        Parameters
        ----------
        base : PriceHistory
            Closes until the cut.
        rows : mapping
            Row of each item that the model knows.
        moment : int
            Just after the cut: what was made before it is the bundle's.
        """
        self._base, self._rows, self._moment = base, rows, moment
        self._lock = threading.Lock()
        self._since: dict[tuple[int, int], tuple[int, int, float]] = {}
        """Moment, time of the telling and close by row and day: the latest of each."""
        self._until = 0
        self._now: Priced | None = self._priced(base)

    def emptied(self) -> Prices:
        """Return one without those since the cut."""
        return Prices(self._base, self._rows, self._moment)

    def learn(self, closes: Iterable[Close]) -> None:
        """Take in what was told; what is not behind the cut, or of no known item, changes nothing.

        Of one item and day the last moment counts, of one moment the last telling.
        """
        with self._lock:
            for one in closes:
                row = self._rows.get(one.item_id)
                if row is None or one.moment < self._moment:
                    continue
                self._until, self._now = max(self._until, one.told), None
                key, value = (row, one.moment // DAY_US), (one.moment, one.told, one.close_eur)
                self._since[key] = max(self._since.get(key, value), value)

    def now(self) -> Priced:
        """Return what is known now."""
        with self._lock:
            if self._now is None:
                self._now = self._priced(self._mixed())
            return self._now

    def _priced(self, closes: PriceHistory) -> Priced:
        return Priced(closes, self._until, self._moment // DAY_US)

    def _mixed(self) -> PriceHistory:
        base = self._read
        newest = max(day for _, day in self._since)
        for key in [one for one in self._since if one[1] <= newest - KEPT_DAYS]:
            del self._since[key]
        keys = sorted(self._since)
        item_N, day_N = np.array(keys, np.int64).T
        close_N = np.array([self._since[key][2] for key in keys])
        both = PriceHistory(
            np.concatenate([base.item_P, item_N]),
            np.concatenate([base.day_P, day_N]),
            np.concatenate([base.close_P, close_N]),
        )
        order = np.argsort(both.key_P, kind="stable")
        key_P = both.key_P[order]
        order = order[np.append(key_P[1:] != key_P[:-1], True)]  # what came since stands behind
        return PriceHistory(both.item_P[order], both.day_P[order], both.close_P[order])

    @cached_property
    def _read(self) -> PriceHistory:
        """Return what may still be read of the bundle's: its last days, and the last of each."""
        base, floor = self._base, self._moment // DAY_US - KEPT_DAYS
        is_last_P = np.diff(base.item_P, append=-1) != 0
        kept_P = (base.day_P >= floor) | is_last_P
        return PriceHistory(base.item_P[kept_P], base.day_P[kept_P], base.close_P[kept_P])
