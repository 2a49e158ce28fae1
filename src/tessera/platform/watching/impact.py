"""Whom an alarm hit and whether it is over: a series before its first alarm, then, and now.

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
"""Days before the first alarm, and from it on."""
_NOW = 3
"""Last days that say how it is now."""
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


@dataclass(frozen=True, slots=True)
class Impact:
    """What one series did, everybody first, then the slices that moved most."""

    series: str
    first: date
    """Day of the first alarm."""
    slices: Sequence[SliceImpact]

    @property
    def whole(self) -> SliceImpact | None:
        """Everybody; None where the series has no such slice."""
        return next((one for one in self.slices if one.name == ALL), None)


def impact(series: str, slices: Mapping[str, Dated], alarmed: Iterable[date]) -> Impact:
    """Compare each slice of a series before, from the first alarm on, and on the last days.

    Parameters
    ----------
    series : str
        Name.
    slices : mapping
        Its points by slice and day.
    alarmed : iterable of date
        Days on which its cause alarmed, one at least; the last of what happened is looked at.
    """
    first = first_of(alarmed)
    found = [one for name, dated in slices.items() if (one := _of_slice(name, dated, first))]
    found.sort(key=lambda one: (one.name != ALL, -abs(one.moved), one.name))
    return Impact(series, first, found)


def first_of(alarmed: Iterable[date]) -> date:
    """Return the first day of the last run of alarms that lie near each other.

    >>> first_of([date(2025, 1, 1), date(2025, 1, 10), date(2025, 1, 13)])
    datetime.date(2025, 1, 10)
    """
    newest, *earlier = sorted(alarmed, reverse=True)
    for day in earlier:
        if newest - day > _APART:
            break
        newest = day
    return newest


def _of_slice(name: str, dated: Dated, first: date) -> SliceImpact | None:
    told = {day: point for day, point in dated.items() if not point.hidden}
    if not told:
        return None
    days, last = sorted(told), max(told)

    def mean(chosen: Sequence[date]) -> float | None:
        values = [value for day in chosen if (value := told[day].value) is not None]
        return sum(values) / len(values) if values else None

    return SliceImpact(
        name,
        told[last].investors,
        mean([day for day in days if day < first][-_SPAN:]),
        mean([day for day in days if day >= first][:_SPAN]),
        mean(days[-_NOW:]),
    )
