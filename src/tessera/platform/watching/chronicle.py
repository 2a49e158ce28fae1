"""What happened, in order: versions that began to answer, what alarmed first, what was done.

Days are those of what was served.  What moved a series nobody can tell from the series alone; what
can be told is whether another version had begun to answer before it, and whether it alarmed on
while none of those answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from tessera.contracts.series import ALL, Day
from tessera.platform.release.history import moves
from tessera.platform.watching.impact import runs_of

_SHOWN = 3
"""Slices that a line names."""
_NEAR = timedelta(days=1)
"""A version that began so long before an alarm, or later, may be why."""
Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened."""

    day: date
    kind: str
    """`version`, `alarm` or `act`."""
    says: str


@dataclass(frozen=True, slots=True)
class Answering:
    """Which versions answered on each day."""

    by_day: Mapping[date, frozenset[str]]

    @classmethod
    def of(cls, days: Iterable[Day]) -> Answering:
        """Read it from what days say of themselves; a day without slates says nothing."""
        told = {day.day: frozenset(day.facts.get("inputs", {}).get("bundles", {})) for day in days}
        return cls({day: names for day, names in sorted(told.items()) if names})

    def begins(self) -> list[tuple[str, date]]:
        """Return each version with the day on which it answered and had not before."""
        found: list[tuple[str, date]] = []
        before: frozenset[str] = frozenset()
        for day, names in self.by_day.items():
            found += [(name, day) for name in sorted(names - before)]
            before = names
        return found

    def clue(self, first: date, last: date, late: timedelta = timedelta()) -> str:
        """Say what the versions tell of a run of alarms.

        Parameters
        ----------
        first, last : date
            Days of the first and last alarm.
        late : timedelta
            How long after a slate a day tells of it.
        """
        known_since = min(self.by_day, default=first)
        near = [(name, day) for name, day in self.begins()
                if known_since < day and first - late - _NEAR <= day <= first]  # fmt: skip
        if not near:
            return "No other version began to answer near it: it is not of a publication."
        name, day = near[-1]
        began = f"{name} had begun to answer on {day}"
        without = [at for at, names in self.by_day.items() if at > day and name not in names]
        if not without or without[0] - last > _NEAR:  # over while it still answered
            return f"{began}: it may be of that version, or of what investors do."
        who = " and ".join(sorted(self.by_day[without[0]]))
        if last >= without[0] + late:
            return (
                f"{began}, and it alarmed on {last} too, of slates that {who} answered: it is not "
                f"of {name} alone."
            )
        return f"{began}, and nothing of it alarmed once {who} answered: it looks like {name}."


def chronicle(
    answering: Answering,
    alarms: Sequence[Entry],
    done: Iterable[Line],
    acts: Iterable[Entry],
) -> list[Line]:
    """Lay out in order what happened.

    Parameters
    ----------
    answering : Answering
        Who answered.
    alarms : sequence
        Alarms of the record.
    done : iterable of Line
        What they brought about.
    acts : iterable
        The history, which knows why a version became current.
    """
    lines = [*_versions(answering, acts), *_alarms(alarms), *done]
    order = ("version", "alarm", "act")
    return sorted(lines, key=lambda one: (one.day, order.index(one.kind)))


def _versions(answering: Answering, acts: Iterable[Entry]) -> list[Line]:
    """Say of each version that began why it did: the last time it did has the last such act."""
    why: dict[str, list[Entry]] = {}
    for one in moves(acts):
        why.setdefault(str(one["to"]), []).append(one)
    found = []
    for name, day in reversed(answering.begins()):
        mine = why.get(name)
        reason = f": {_why(mine.pop())}" if mine else ""
        verb = "begins to answer" if day > min(answering.by_day) else "answers"
        found.append(Line(day, "version", f"{name} {verb}{reason}"))
    return found[::-1]


def _why(act: Entry) -> str:
    override = act.get("override_reason")
    if override:
        return f"published by a person against {act.get('decision')} ({override})"
    if act["act"] == "rollback":
        named = str(act["reason"]).startswith("alarm ")  # which stands here as what was done
        return "by a rollback" + ("" if named else f" ({act['reason']})")
    return f"published by {act['decision']} ({act['reason']})" if act.get("decision") else str(
        act["reason"]
    )  # fmt: skip


def _alarms(alarms: Iterable[Entry]) -> list[Line]:
    """Say of each family when each run of alarms began, of whom, and until when."""
    by: dict[str, list[Entry]] = {}
    for one in alarms:
        by.setdefault(str(one["family"]), []).append(one)
    return [
        Line(first, "alarm", _run(family, [one for one in mine if _within(one, first, last)]))
        for family, mine in by.items()
        for first, last in runs_of(date.fromisoformat(one["day"]) for one in mine)
    ]


def _within(one: Entry, first: date, last: date) -> bool:
    return str(first) <= str(one["day"]) <= str(last)


def _run(family: str, mine: Sequence[Entry]) -> str:
    days = sorted({str(one["day"]) for one in mine})
    slices = sorted({str(one["slice"]) for one in mine} - {ALL})
    begin = min(mine, key=lambda one: (one["day"], one["slice"] != ALL))
    more = len(slices) - _SHOWN
    parts = ", ".join(slices[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    until = f"; on {len(days)} days, the last on {days[-1]}" if len(days) > 1 else ""
    return f"{family} alarms: {begin['says']}{until}{f'; of its slices {parts}' if parts else ''}"
