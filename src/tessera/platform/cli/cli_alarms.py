"""`tessera alarms`, `dashboards`, `exploration`: what alarmed, what was done, what people see."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from tessera.contracts.errors import BadParams
from tessera.platform.cli.cli_acts import Approver, Profile
from tessera.platform.workspace.paths import DEFAULT_PROFILE, open_workspace

_DAY = "%Y-%m-%d"
BREACHED = 1
"""Exit code of a day that is breached."""


def alarms(
    profile: Profile = DEFAULT_PROFILE,
    days: Annotated[int, typer.Option(min=1, help="How many days before the newest.")] = 14,
    day: Annotated[
        datetime | None, typer.Option(formats=[_DAY], help="Raise those of this day again.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="With --day: exit with 1 if it is breached.")
    ] = False,
    asked: Annotated[
        bool,
        typer.Option(
            "--asked", help="With --day: print which alarm asked to train; exit with 99 if none."
        ),
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the chain of hashes; exit with 2 if broken.")
    ] = False,
    snooze: Annotated[
        str | None, typer.Option(help="Silence the cause of the alarm of this id.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=[_DAY], help="Last silent day of a snooze.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; recorded for ever.")] = None,
) -> None:
    """Show what alarmed, who was told and what was done; silence a cause that is known."""
    from tessera.platform.cli import alarms_table

    workspace = open_workspace(profile)
    if snooze is not None:
        if until is None or not reason:
            raise BadParams("--snooze needs --until DAY and --reason TEXT, which are recorded")
        alarms_table.silence(workspace, snooze, reason, until.date())
    elif day is not None and asked:
        raise typer.Exit(alarms_table.tell_asked(workspace, day.date()))
    elif day is not None:
        raise typer.Exit(
            BREACHED if alarms_table.raise_again(workspace, day.date()) and check else 0
        )
    else:
        alarms_table.show(workspace, days, verify=verify)


def exploration(
    profile: Profile = DEFAULT_PROFILE,
    stop: Annotated[bool, typer.Option("--stop", help="Show the best from now on.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Draw slates again.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; recorded for ever.")] = None,
    approver: Approver = None,
) -> None:
    """Show whether slates are drawn; stop that, or let it go on (both recorded for ever)."""
    from tessera.platform.release import exploration as acts

    workspace = open_workspace(profile)
    if stop and resume:
        raise BadParams("--stop and --resume exclude each other: choose one")
    if stop:
        acts.stop(workspace, reason or "", approver)
    elif resume:
        if not approver:
            raise BadParams("--resume needs --approver NAME, which is recorded")
        acts.resume(workspace, reason or "", approver)
    drawn = acts.explores(workspace)
    told = "slates are drawn" if drawn else "stopped: the best are shown, marked as unexplored"
    typer.echo(f"exploration of profile {profile}: {told}")


def dashboards(
    profile: Profile = DEFAULT_PROFILE,
    port: Annotated[int, typer.Option(min=1, max=65535, help="To listen on.")] = 8090,
    build: Annotated[
        bool, typer.Option("--build", help="Bring the workspace up to date, and leave.")
    ] = False,
) -> None:
    """Serve Evidently's dashboards of the watched days on this machine, behind a log-in."""
    from tessera.platform.cli import dashboards as boards

    workspace = open_workspace(profile)
    if build:
        boards.build(workspace)
    else:
        boards.serve(workspace, port)
