"""Whom an alarm hit and whether it is over: a series before it alarmed, while it did, and now.

A threshold moves with the days before it, so an alarm ends once those are of the change too; what
the series was before tells whether it is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from tessera.contracts.series import ALL
from tessera.platform.watching.trends import Dated

_SPAN = 7
"""Days before the first alarm."""
_NOW = 3
"""Last days that say how it is now."""
_OVER = 0.9
"""So much of the way back counts as all of it."""
_APART = timedelta(days=4)
"""Alarms of a cause that lie no further apart are of one thing that happened."""


@dataclass(frozen=True, slots=True)
class SliceImpact:
    """One slice: means of its days."""

    name: str
    investors: int
    """On the last day."""
    before: float | None
    then: float | None
    now: float | None

    @property
    def moved(self) -> float:
        """How far it moved, as a share of what it was before; 0 where nobody can tell."""
        if self.then is None or not self.before:
            return 0.0
        return self.then / self.before - 1.0

    @property
    def back(self) -> float | None:
        """Which share of the way it has come back; None where nobody can tell."""
        if self.before is None or self.then is None or self.now is None:
            return None
        way = self.before - self.then
        return (self.now - self.then) / way if way else None


@dataclass(frozen=True, slots=True)
class Impact:
    """What one series did, everybody first, then the slices that moved most."""

    series: str
    first: date
    """Day of the first alarm."""
    last: date
    """And of the last."""
    slices: Sequence[SliceImpact]

    @property
    def is_open(self) -> bool:
        """Whether everybody, or a slice, has not come back as far as counts as over."""
        return any(one.back is not None and one.back < _OVER for one in self.slices)

    @property
    def furthest(self) -> SliceImpact | None:
        """The slice that has come back least; None where none of them has far to go."""
        parts = [one for one in self.slices if one.name != ALL and one.back is not None]
        least = min(parts, key=lambda one: one.back or 0.0, default=None)
        return least if least is not None and (least.back or 0.0) < _OVER else None

    @property
    def whole(self) -> SliceImpact | None:
        """Everybody; None where the series has no such slice."""
        return next((one for one in self.slices if one.name == ALL), None)


def impact(series: str, slices: Mapping[str, Dated], alarmed: Iterable[date]) -> Impact:
    """Compare each slice of a series before, while it alarmed, and on the last days.

    Parameters
    ----------
    series : str
        Name.
    slices : mapping
        Its points by slice and day.
    alarmed : iterable of date
        Days on which its cause alarmed, one at least; the last of what happened is looked at.
    """
    days = sorted(alarmed)
    first, last = runs_of(days)[-1]
    mine = [day for day in days if day >= first]
    found = [one for name, dated in slices.items() if (one := _of_slice(name, dated, mine))]
    found.sort(key=lambda one: (one.name != ALL, -abs(one.moved), one.name))
    return Impact(series, first, last, found)


def runs_of(alarmed: Iterable[date]) -> list[tuple[date, date]]:
    """Return first and last day of each run of alarms that lie near each other.

    >>> days = [date(2025, 1, 1), date(2025, 1, 10), date(2025, 1, 13)]
    >>> [(first.day, last.day) for first, last in runs_of(days)]
    [(1, 1), (10, 13)]
    """
    runs: list[tuple[date, date]] = []
    for day in sorted(alarmed):
        if runs and day - runs[-1][1] <= _APART:
            runs[-1] = runs[-1][0], day
        else:
            runs.append((day, day))
    return runs


def _of_slice(name: str, dated: Dated, alarmed: Sequence[date]) -> SliceImpact | None:
    told = {day: point for day, point in dated.items() if not point.hidden}
    if not told:
        return None
    days = sorted(told)

    def mean(chosen: Sequence[date]) -> float | None:
        values = [value for day in chosen if (value := told[day].value) is not None]
        return sum(values) / len(values) if values else None

    return SliceImpact(
        name,
        told[days[-1]].investors,
        mean([day for day in days if day < alarmed[0]][-_SPAN:]),
        mean([day for day in days if day in alarmed]),
        mean(days[-_NOW:]),
    )
