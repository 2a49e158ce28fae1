"""Closes that came while serving, as they are logged, and what all of them come to.

Of one item and moment the value that was told last counts, so what is known follows from the
tellings in whatever order they come.  Whoever tells does so alone, so that every process learns
tellings in the order of their time, and that time says what a slate knew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tessera.contracts.arrow import DAY_US
from tessera.shared.features.prices import LOOKBACK_DAYS, MAX_AGE_DAYS

CLOSE = "close"
"""Kind of their records in the served log."""
KEPT_DAYS = max(LOOKBACK_DAYS) + MAX_AGE_DAYS + 1
"""No feature reads a close that is older than this at a request."""


@dataclass(frozen=True, slots=True)
class Close:
    """Price of an item at the end of a day."""

    item_id: str
    moment: int
    """Microseconds since 1970; it counts from the next day on."""
    close_eur: float
    told: int
    """When it was told."""

    @property
    def event_id(self) -> str:
        """Name of this telling in a feed; no event can bear it, for ids hold no control signs."""
        return f"\x1f{self.item_id}\x1f{self.moment}\x1f{self.told}"

    @property
    def text(self) -> str:
        """Lay it out for a feed."""
        return json.dumps(_values(self), separators=(",", ":"))

    @property
    def rank(self) -> str:
        """Text by which either of two is chosen that bear the same name."""
        digest = hashlib.blake2b(self.text.encode(), digest_size=16).hexdigest()
        return f"{self.told:020d}{digest}"

    def record(self) -> dict[str, Any]:
        """Lay it out for the log."""
        return {"kind": CLOSE, **_values(self)}


def close_of(record: dict[str, Any]) -> Close:
    """Read what `Close.record` or `Close.text` laid out."""
    return Close(**{name: record[name] for name in Close.__slots__})


def _values(close: Close) -> dict[str, Any]:
    return {name: getattr(close, name) for name in Close.__slots__}


class Closes:
    """Those that count, of as many days as a feature can read."""

    def __init__(self) -> None:
        """Know none."""
        self._days: dict[int, dict[tuple[str, int], Close]] = {}
        self._newest = 0
        """Day of the newest."""
        self.until = 0
        """When the last of them was told; 0 if none was."""

    def __iter__(self) -> Iterator[Close]:
        for day in self._days.values():
            yield from day.values()

    def learn(self, close: Close) -> bool:
        """Take in a telling; tell whether it changes what counts."""
        self.until = max(self.until, close.told)
        day = close.moment // DAY_US
        if day <= self._newest - KEPT_DAYS:
            return False
        found = self._days.setdefault(day, {})
        before = found.get((close.item_id, close.moment))
        if before is not None and (before.told, before.rank) >= (close.told, close.rank):
            return False
        found[close.item_id, close.moment] = close
        if day > self._newest:
            self._newest = day
            for old in [one for one in self._days if one <= day - KEPT_DAYS]:
                del self._days[old]
        return True

    def fresh(self, closes: Iterable[Close]) -> list[Close]:
        """Return those that say something else than what counts."""
        return [one for one in closes if self._says_more(one)]

    def _says_more(self, close: Close) -> bool:
        day = close.moment // DAY_US
        before = self._days.get(day, {}).get((close.item_id, close.moment))
        is_read = day > self._newest - KEPT_DAYS
        return is_read and (before is None or before.close_eur != close.close_eur)


@contextmanager
def telling(folder: Path) -> Iterator[None]:
    """Keep all other threads and processes of a log from telling closes or classes meanwhile."""
    with (folder / "closes.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
