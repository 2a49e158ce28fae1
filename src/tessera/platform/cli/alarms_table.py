"""Tell of the record of alarms, raise those of a day again, silence a cause."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import typer

from tessera.contracts.series import Day, read_day
from tessera.platform.watching import incidents, record
from tessera.platform.watching.acting import asked_by
from tessera.platform.watching.page import leave
from tessera.platform.watching.raising import raise_alarms
from tessera.platform.watching.snooze import snooze
from tessera.platform.workspace.paths import Workspace

_NOTHING_TO_DO = 99
"""Exit code by which Airflow skips a task."""
_COLOURS = {"critical": "red", "warning": "yellow"}


def show(workspace: Workspace, days: int, *, verify: bool) -> None:
    """Print the alarms of the last days, newest first.

    Raises
    ------
    BrokenHistory
        If the record is not what was written, and `verify` asks for it.
    """
    lines = record.entries(workspace)
    found = [one for one in lines if one.get("kind") == "alarm"]
    newest = max((date.fromisoformat(one["day"]) for one in found), default=date.min)
    first = newest - timedelta(days=min(days - 1, newest.toordinal() - 1))
    for one in sorted(found, key=lambda one: str(one["day"]), reverse=True):
        if one["day"] >= first.isoformat():
            _show(one, lines)
    if not found:
        typer.echo(f"nothing alarmed yet in profile {workspace.profile}")
    if verify:
        record.require_whole(workspace)
        typer.echo(f"{len(lines)} lines, every hash matches")


def raise_again(workspace: Workspace, day: date) -> bool:
    """Raise the alarms of a day that was watched; tell whether it is breached.

    Raises
    ------
    BadInput
        If the day was not watched.
    """
    found = read_day(workspace.watched / day.isoformat())
    found.check()
    breached = follow_up(workspace, found)
    leave(workspace)
    return breached


def follow_up(workspace: Workspace, found: Day) -> bool:
    """Raise the alarms of a day and say what became of them; tell whether it is breached."""
    raised = raise_alarms(workspace, found)
    for one in raised:
        silent = f" (silent: {one.snoozed})" if one.snoozed else ""
        typer.echo(f"{one.alarm.rule.severity}: {one.alarm.family}: {one.alarm.says}{silent}")
        if one.done is not None:
            typer.echo(f"  {one.done.action}: {'' if one.done.done else 'no, '}{one.done.says}")
    breached = sum(one.breach for one in raised)
    if raised:
        typer.echo(f"{found.day}: {len(raised)} alarms, {breached} of them a breach")
    return breached > 0


def tell_asked(workspace: Workspace, day: date) -> int:
    """Print which alarm of a day asked for training; return the exit code of a scheduler's task."""
    found = asked_by(workspace, day)
    if found is None:
        return _NOTHING_TO_DO
    typer.echo(found)
    return 0


def silence(workspace: Workspace, alarm: str, reason: str, until: date) -> None:
    """Snooze the cause of an alarm, and say so on its page.

    Raises
    ------
    BadParams
        As `snooze` does.
    """
    told = snooze(workspace, alarm, reason, until)
    incidents.write(workspace, alarm)
    leave(workspace)
    typer.echo(f"{told['family']} of {told['slice']} is silent until {until}: {told['reason']}")


def _show(one: Mapping[str, Any], lines: list[dict[str, Any]]) -> None:
    severity = typer.style(f"{one['severity']:8}", fg=_COLOURS.get(str(one["severity"])))
    typer.echo(f"{one['id']}  {severity}  {one['family']} of {one['slice']}: {one['says']}")
    for _, what in incidents.story(lines, str(one["id"])):
        typer.echo(f"    {what}")
    typer.echo(f"    {one['owner']}, {one['runbook']}")
