"""The command that writes a document for auditors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tessera.platform.workspace.paths import DEFAULT_PROFILE, open_workspace


def report(
    period: Annotated[
        str, typer.Option(help="A year, a month, a day (UTC), or two of them: 2025-05..2025-06.")
    ],
    profile: Annotated[
        str, typer.Option(help="Name of a file in profiles/, without .yaml.")
    ] = DEFAULT_PROFILE,
    page: Annotated[
        Path | None, typer.Option(help="File to write; by default report-PERIOD.html here.")
    ] = None,
) -> None:
    """Write what was in force in a period, on what evidence, as one page for auditors.

    It exits with 2 if what it reads is not as it was written; the page says so too.
    """
    from tessera.contracts.errors import BrokenHistory
    from tessera.platform.dossier.gather import gather
    from tessera.platform.dossier.page import render
    from tessera.platform.dossier.period import Period
    from tessera.platform.workspace import files

    workspace, days = open_workspace(profile), Period.parse(period)
    told = gather(workspace, days)
    target = page or Path(f"report-{days.first}-{days.last}.html")
    files.write_page(render(told), target)
    typer.echo(str(target))
    if told.faults:
        more = f" (and {len(told.faults) - 1} more)" if len(told.faults) > 1 else ""
        raise BrokenHistory(f"the report is not to be relied on: {told.faults[0]}{more}")
