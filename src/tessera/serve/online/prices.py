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
from numpy.typing import NDArray

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.serve.closes import KEPT_DAYS, Close
from tessera.shared.features.prices import MAX_AGE_DAYS, PriceHistory, close_before

_Telling = tuple[int, int, int, float]
"""Row, moment, time of the telling, and close."""
Columns = NDArray[np.void]
"""Tellings as arrays."""
_COLUMNS = [("row", "i8"), ("moment", "i8"), ("told", "i8"), ("close_eur", "f8")]
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
    """What one bundle knows of closes.

    Laying out those of all items takes a tenth of a second of ten thousand, so nobody who answers
    does it: what is told is noted, and until it is laid out answers read what was before it, whole.
    """

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
        self._lock, self._laying = threading.Lock(), threading.Lock()
        self._noted: list[_Telling] = []
        self._since = _columns([])
        self._now = Priced(base, 0, moment // DAY_US)

    def emptied(self) -> Prices:
        """Return one without those since the cut."""
        return Prices(self._base, self._rows, self._moment)

    def note(self, closes: Iterable[Close]) -> None:
        """Take in what was told, to be laid out later.

        What is not behind the cut, or of no known item, changes nothing.
        """
        rows = self._rows
        noted = [
            (rows[one.item_id], one.moment, one.told, one.close_eur)
            for one in closes
            if one.item_id in rows and one.moment >= self._moment
        ]
        with self._lock:
            self._noted += noted

    def lay_out(self) -> None:
        """Let answers from now on read all that was noted until now."""
        with self._laying:
            with self._lock:
                noted = self._noted[:]
            if not noted:
                return
            since = _latest(np.concatenate([self._since, _columns(noted)]))
            until = max(self._now.until, *(told for _, _, told, _ in noted))
            closes = self._beside(since)
            closes.sums_P  # noqa: B018, they are built when somebody asks: not who answers
            self._since, self._now = since, Priced(closes, until, self._now.cut_day)
            with self._lock:
                del self._noted[: len(noted)]

    def learn(self, closes: Iterable[Close]) -> None:
        """Take in what was told, and lay it out.

        Of one item and day the last moment counts, of one moment the last telling.
        """
        self.note(closes)
        self.lay_out()

    def now(self) -> Priced:
        """Return what is laid out now."""
        return self._now

    def _beside(self, since: Columns) -> PriceHistory:
        """Return these closes and those of the bundle that may still be read."""
        base = self._read
        both = PriceHistory(
            np.concatenate([base.item_P, since["row"]]),
            np.concatenate([base.day_P, since["moment"] // DAY_US]),
            np.concatenate([base.close_P, since["close_eur"]]),
        )
        order = np.argsort(both.key_P, kind="stable")
        key_P = both.key_P[order]
        order = order[_is_last(key_P)]  # what came since stands behind
        return PriceHistory(both.item_P[order], both.day_P[order], both.close_P[order])

    @cached_property
    def _read(self) -> PriceHistory:
        """Return what may still be read of the bundle's: its last days, and the last of each."""
        base, floor = self._base, self._moment // DAY_US - KEPT_DAYS
        kept_P = (base.day_P >= floor) | _is_last(base.item_P)
        return PriceHistory(base.item_P[kept_P], base.day_P[kept_P], base.close_P[kept_P])


def _columns(tellings: list[_Telling]) -> Columns:
    return np.array(tellings, _COLUMNS)


def _latest(tellings: Columns) -> Columns:
    """Return the one of each item and day that counts, of the days that are kept; in their order.

    Of one item and day that is the last moment, of one moment the last telling.
    """
    day_N = tellings["moment"] // DAY_US
    is_kept_N = day_N > day_N.max() - KEPT_DAYS
    tellings, day_N = tellings[is_kept_N], day_N[is_kept_N]
    names = ("close_eur", "told", "moment")
    order = np.lexsort([*(tellings[name] for name in names), day_N, tellings["row"]])
    row_N, day_N = tellings["row"][order], day_N[order]
    return tellings[order[_is_last(row_N) | _is_last(day_N)]]


def _is_last(sorted_N: Ints) -> Bools:
    """Tell of each number whether another one, or none, follows."""
    return np.append(sorted_N[1:] != sorted_N[:-1], True)[: len(sorted_N)]
