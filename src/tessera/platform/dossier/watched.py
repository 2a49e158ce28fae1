"""What the watched days of a period tell: how series went, what alarmed, and what was done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from tessera.contracts.errors import TesseraError
from tessera.contracts.series import ALL, Day, Point, days
from tessera.platform.dossier.period import Period
from tessera.platform.watching.acting import acted
from tessera.platform.watching.incidents import story
from tessera.platform.watching.record import chain, entries
from tessera.platform.workspace.paths import Workspace

_TOLD = {"id", "day", "family", "slice", "severity", "says", "owner", "past", "snoozed"}
"""What the line of an alarm says; where one says less, the record is broken."""


@dataclass(frozen=True, slots=True)
class Trend:
    """How one series of everybody went over a period."""

    series: str
    first: float
    last: float
    least: float
    most: float
    limit: str
    """Of the last day, in words; empty if there is none."""
    alarmed: int
    """Days on which it alarmed."""


@dataclass(frozen=True, slots=True)
class Watched:
    """All watched days of a period."""

    days: Sequence[Day]
    gaps: Sequence[date]
    """Days between them that were not."""
    trends: Sequence[Trend]
    alarms: Sequence[tuple[Mapping[str, Any], str]]
    """Each alarm of these days, and what became of it."""
    faults: Sequence[str]
    """What is not as it was written."""


def watched(workspace: Workspace, period: Period) -> Watched:
    """Read and check the watched days of a period, and the record of alarms."""
    found, faults = _whole(workspace, period)
    wrong = chain(workspace).fault()
    if wrong:
        faults.append(f"the record of alarms is {wrong}")
    lines = entries(workspace)
    alarms = [one for one in lines if one.keys() >= _TOLD and _in(period, one["day"])]
    faults += _unrecorded(workspace, period, found, alarms)
    told = [(one, "; ".join(what for _, what in story(lines, str(one["id"])))) for one in alarms]
    return Watched(found, _gaps(found), list(_trends(found)), told, faults)


def _whole(workspace: Workspace, period: Period) -> tuple[list[Day], list[str]]:
    """Return the days whose files are what was measured, and what is wrong with the others."""
    found, faults = [], []
    for day in days(workspace.watched):
        if not period.holds(day.day):
            continue
        try:
            day.check()
        except TesseraError as error:
            faults.append(str(error))
        else:
            found.append(day)
    return found, faults


def _in(period: Period, day: str) -> bool:
    return period.holds(date.fromisoformat(day))


def _unrecorded(
    workspace: Workspace, period: Period, found: Sequence[Day], alarms: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Say which alarms the history and the days tell of, and the record does not."""
    ids, on = {str(one["id"]) for one in alarms}, {str(one["day"]) for one in alarms}
    for name, day in acted(workspace):
        if period.holds(day) and name not in ids:
            yield f"the record of alarms lacks alarm {name}, by which something was done"
    for one in found:
        if str(one.day) not in on and any(point.alarm for point in one.points()):
            yield (
                f"series of {one.day} alarm and the record of alarms has none of that day: run "
                f"`tessera alarms --day {one.day} --profile {workspace.profile}`, or bring it back "
                "from a backup"
            )


def _gaps(found: Sequence[Day]) -> list[date]:
    days = [one.day for one in found]
    return [
        before + timedelta(ahead)
        for before, after in pairwise(days)
        for ahead in range(1, (after - before).days)
    ]


def _trends(found: Sequence[Day]) -> Iterator[Trend]:
    """Tell of each series of everybody that has a threshold on some day."""
    by_name: dict[str, list[tuple[Point, float]]] = {}
    for day in found:
        for one in day.points():
            if one.slice == ALL and one.value is not None:
                by_name.setdefault(one.series, []).append((one, one.value))
    for name in sorted(by_name):
        points, values = zip(*by_name[name], strict=True)
        if any(one.threshold is not None for one in points):
            last = points[-1]
            limit = "" if last.threshold is None else f"bad {last.side} {last.threshold:.4g}"
            alarmed = sum(one.alarm for one in points)
            yield Trend(name, values[0], values[-1], min(values), max(values), limit, alarmed)
