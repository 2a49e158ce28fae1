"""The part of the command line that DVC, Airflow and make call: pins, renderings, tasks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tessera.contracts.errors import TesseraError
from tessera.platform.cli.cli_acts import Profile
from tessera.platform.workspace.paths import DEFAULT_PROFILE, open_workspace


def snapshot(profile: Profile = DEFAULT_PROFILE) -> None:
    """Copy the state that a run starts from: champion, ledger of codes, served log, request."""
    from tessera.platform.pipeline.snapshot import snapshot as pin
    from tessera.platform.workspace.params import load_params

    workspace = open_workspace(profile)
    load_params(workspace)
    source = os.environ.get("TESSERA_SOURCE")
    pin(workspace, os.environ.get("TESSERA_CUT"), Path(source) if source else None)


def dvc(profile: Profile = DEFAULT_PROFILE) -> None:
    """Print the dvc.yaml of a profile."""
    from tessera.platform.pipeline.dvc import render as text

    typer.echo(text(open_workspace(profile)), nl=False)


def render(
    check: Annotated[
        bool, typer.Option(help="Write nothing; fail if a file is out of date.")
    ] = False,
) -> None:
    """Write the files made from the code: params.yaml, dvc.yaml, suites, tables in the docs."""
    from tessera.platform.cli.render import render_all, stale

    if check and (names := stale()):
        raise TesseraError(f"{', '.join(names)} not up to date: run `make render` and commit")
    typer.echo("up to date" if check else f"{render_all()} files written")


def task(
    name: Annotated[str, typer.Argument(help="snapshot, a stage, publish, or waiting.")],
    profile: Annotated[
        str, typer.Option(envvar="TESSERA_PROFILE", help="Name of a profile.")
    ] = DEFAULT_PROFILE,
    data: Annotated[
        Path | None, typer.Option(envvar="TESSERA_SOURCE", help="Folder with the raw files.")
    ] = None,
    cut: Annotated[str | None, typer.Option(envvar="TESSERA_CUT", help="Learn until here.")] = None,
    from_stage: Annotated[
        str | None, typer.Option(envvar="TESSERA_FROM_STAGE", help="Run again from here.")
    ] = None,
    force: Annotated[
        bool, typer.Option(envvar="TESSERA_FORCE", help="Run even if unchanged.")
    ] = False,
    override_reason: Annotated[
        str | None,
        typer.Option(envvar="TESSERA_OVERRIDE_REASON", help="Publish against the verdict."),
    ] = None,
    approval: Annotated[
        bool, typer.Option(envvar="TESSERA_APPROVAL", help="Wait for a person.")
    ] = False,
    run_id: Annotated[
        str | None, typer.Option(envvar="TESSERA_RUN", help="Name of the run.")
    ] = None,
) -> None:
    """Run one step as a task of Airflow; exit code 99 means that there was nothing to do."""
    from tessera.platform.pipeline.main_job import Request
    from tessera.platform.pipeline.task import Order, run_task

    request = Request(data, cut, force, from_stage)
    order = Order(request, override_reason, approval, run_id)
    raise typer.Exit(run_task(open_workspace(profile), name, order))
