"""`tessera monitor`: measure the days that were served."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from tessera.contracts.errors import BadInput
from tessera.platform.cli.cli_acts import Profile
from tessera.platform.workspace.paths import DEFAULT_PROFILE, open_workspace

if TYPE_CHECKING:
    from tessera.contracts.series import Day

_MOST = 400
"""Days that are measured at once: more is a slip of the year."""


def monitor(
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Day to measure, in UTC.")],
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Last day, to measure all from --day on."),
    ] = None,
    profile: Profile = DEFAULT_PROFILE,
) -> None:
    """Measure what was served on a day, raise its alarms, and write the page of all days."""
    from tessera.platform.cli.alarms_table import follow_up
    from tessera.platform.watching.day import span, watch_day
    from tessera.platform.watching.page import leave
    from tessera.platform.watching.raising import served_now

    workspace = open_workspace(profile)
    first, last = day.date(), (until or day).date()
    if not first <= last or (last - first).days >= _MOST:
        raise BadInput(f"--until {last} is not within {_MOST} days from --day {first}: mend it")
    now = served_now(workspace)
    if last >= now.date():
        raise BadInput(
            f"{last} is not over by the clock of the service, which says {now:%Y-%m-%d %H:%M} UTC: "
            "measure it from the next midnight on"
        )
    for one in span(first, last):
        found = watch_day(workspace, one)
        _say(found)
        follow_up(workspace, found)
    typer.echo(f"page: {leave(workspace)}")


def _say(found: Day) -> None:
    alarms = [one for one in found.points() if one.alarm]
    told = "nothing was served" if found.status == "empty" else f"{len(alarms)} alarms"
    typer.echo(f"{found.day}: {told}")
    for one in alarms:
        typer.echo(
            f"  {one.series} of {one.slice}: {one.value:.4g}, {one.side} {one.threshold:.4g}"
        )
    for line in found.remarks:
        typer.echo(f"  {line}")
