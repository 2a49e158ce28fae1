"""A cause that somebody knows of is silent until a day: recorded, and nobody is told."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from tessera.contracts.errors import BadParams
from tessera.platform.release.overrides import stated
from tessera.platform.watching.record import Entry, one_record
from tessera.platform.workspace.paths import Workspace

MOST_DAYS = 90
"""A cause that is known for longer is a threshold that has to move."""


def snooze(workspace: Workspace, alarm: str, reason: str, until: date) -> dict[str, Any]:
    """Silence the cause of an alarm up to and with a day; return what was recorded.

    Parameters
    ----------
    workspace : Workspace
        The profile.
    alarm : str
        Id of an alarm of that cause.
    reason : str
        Why; recorded for ever.
    until : date
        In days of the log, at most ninety after the alarm; one before it ends a snooze.

    Raises
    ------
    BadParams
        If there is no such alarm, no reason, or the end is too far.
    """
    why, _ = stated(reason, None)
    with one_record(workspace) as record:
        found = alarm_of(record.entries, alarm)
        latest = date.fromisoformat(found["day"]) + timedelta(days=MOST_DAYS)
        if until > latest:
            raise BadParams(
                f"--until {until} is more than {MOST_DAYS} days after the alarm: name {latest} at "
                "most, or move the threshold in monitoring/served.yaml"
            )
        told = {name: found[name] for name in ("id", "cause", "family", "slice")}
        facts = {"kind": "snooze", **told, "reason": why, "until": until.isoformat()}
        record.add(facts)
        return facts


def alarm_of(entries: Iterable[Entry], alarm: str) -> Entry:
    """Return the alarm of an id.

    Raises
    ------
    BadParams
        If there is none.
    """
    for one in entries:
        if one.get("kind") == "alarm" and one["id"] == alarm:
            return one
    raise BadParams(f"no alarm {alarm!r}: `tessera alarms` lists them")


def snoozed(entries: Iterable[Entry], cause: str, day: date) -> str | None:
    """Return why a cause is silent on a day, None if it is not; its last snooze counts.

    >>> lines = [{"kind": "snooze", "cause": "a", "until": "2025-01-09", "reason": "known"}]
    >>> [snoozed(lines, "a", date(2025, 1, day)) for day in (9, 10)]
    ['known', None]
    """
    mine = [one for one in entries if one.get("kind") == "snooze" and one["cause"] == cause]
    if not mine or date.fromisoformat(mine[-1]["until"]) < day:
        return None
    return str(mine[-1]["reason"])
