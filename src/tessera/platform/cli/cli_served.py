"""`tessera served`: what was served as tables, or played again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tessera.contracts.errors import BadInput, TesseraError
from tessera.platform.cli.cli_acts import Profile
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace, open_workspace

if TYPE_CHECKING:  # torch takes seconds
    from tessera.serve.replay import Replayed


def served(
    folder: Annotated[
        Path | None, typer.Argument(help="New folder to write the tables into.")
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Draw every slate again from its bundle and compare.")
    ] = False,
    profile: Profile = DEFAULT_PROFILE,
) -> None:
    """Write what was served as tables: exposures, outcomes and events; or play it again."""
    from tessera.platform.workspace import files
    from tessera.serve.whole_log import write_log

    workspace = open_workspace(profile)
    if replay:
        _replay(workspace)
    if folder is None:
        if not replay:
            raise BadInput("name a new folder for the tables, or say --replay")
        return
    if folder.exists():
        raise BadInput(f"{folder} is there already: name a new folder")
    aside = folder.with_name(f".{folder.name}.new")
    files.remove(aside)
    aside.mkdir(parents=True)
    told = write_log(workspace.served, aside)
    if not told:
        files.remove(aside)
        raise BadInput(f"nothing was served of profile {profile}: run `tessera serve` first")
    files.move_into_place(aside, folder)
    typer.echo(", ".join(f"{one['rows']} {name}" for name, one in told.items()))


def _replay(workspace: Workspace) -> None:
    """Play the log again with the bundles of the time; the first slate that differs is said."""
    from tessera.platform.watching.skew import engines
    from tessera.serve.hours import records
    from tessera.serve.replay import replay

    found = replay(records(workspace.served), engines(workspace))
    _say(found)


def _say(found: Replayed) -> None:
    if found.faults:
        first, more = found.faults[0], len(found.faults)
        raise TesseraError(
            f"{more} of {found.slates} slates are not what was judged; slate {first.request_id} "
            f"{first.says}: the gate may not read this log, look who wrote it"
        )
    typer.echo(
        f"{found.slates} slates drawn again: propensities within {found.propensity:.1g}, "
        f"scores within {found.score:.1g}"
    )
    left = {
        "nobody drew them": found.unexplored,
        "their bundle is gone": found.unplayed,
        "only their propensities, as events were forgotten before them": found.unscored,
        "only their propensities, as several processes wrote the log": found.unordered,
    }
    for why, count in left.items():
        if count:
            typer.echo(f"{count} not compared: {why}")
