"""The part of the command line that people work with: run, look at data, train apart, ask."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tessera.contracts.errors import BadParams
from tessera.platform.cli.cli_acts import Profile
from tessera.platform.cli.plain import plain
from tessera.platform.pipeline.forkserver import one_thread
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace, open_workspace

if TYPE_CHECKING:
    from tessera.platform.workspace.catalogue import Stage


def stages(profile: Profile = DEFAULT_PROFILE) -> None:
    """List the stages of the pipeline, with what each reads and writes."""
    from tessera.platform.workspace import catalogue
    from tessera.platform.workspace.params import source_of

    table = Table("stage", "does", "reads", "writes")
    for stage in catalogue.stages(source_of(open_workspace(profile))):
        table.add_row(stage.name, stage.doc, ", ".join(stage.reads), ", ".join(stage.writes))
    Console().print(table)


def run(
    stage: Annotated[
        str | None, typer.Argument(help="Run this stage alone; without it, the whole pipeline.")
    ] = None,
    profile: Profile = DEFAULT_PROFILE,
    data: Annotated[Path | None, typer.Option(help="Folder with the raw files.")] = None,
    cut: Annotated[
        str | None, typer.Option(help="Learn until here, test after it: 2021-07-01.")
    ] = None,
    from_stage: Annotated[
        str | None, typer.Option(help="Run this stage and all after it again.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Run every stage again, changed or not.")] = False,
    override_reason: Annotated[
        str | None, typer.Option(help="Publish even against the verdict; this reason is recorded.")
    ] = None,
) -> None:
    """Run the whole pipeline and publish what the gate lets through; or run one stage."""
    workspace = open_workspace(profile)
    if stage is not None:
        _require_whole_run(from_stage, force, override_reason)
        _run_one(workspace, stage, data, cut)
        return
    from tessera.platform.cli.summary import show
    from tessera.platform.pipeline import main_job
    from tessera.platform.workspace.params import load_params, require_said

    load_params(workspace)
    require_said(override_reason)
    main_job.write_pipeline(workspace)
    main_job.repro(workspace, main_job.Request(data, cut, force, from_stage))
    show(workspace, main_job.publish(workspace, override_reason))


def _require_whole_run(from_stage: str | None, force: bool, reason: str | None) -> None:
    """Refuse options that one stage would leave unheard."""
    given = {"--from-stage": from_stage, "--force": force, "--override-reason": reason}
    for option, value in given.items():
        if value:
            raise BadParams(f"{option} goes with a whole run: leave out the name of the stage")


def _run_one(workspace: Workspace, name: str, data: Path | None, cut: str | None) -> None:
    os.environ.update(one_thread())
    from tessera.platform.pipeline.runner import run_stage
    from tessera.platform.workspace.catalogue import find, stages
    from tessera.platform.workspace.params import load_params, source_of

    among = stages(source_of(workspace))
    stage = find(name, among)
    if stage is None:
        names = ", ".join(other.name for other in among)
        raise BadParams(f"no stage {name!r} in profile {workspace.profile}: choose one of {names}")
    params = load_params(workspace)
    if data or cut:
        _request(workspace, stage, data, cut)
    run_stage(stage, workspace, params)


def _request(workspace: Workspace, stage: Stage, data: Path | None, cut: str | None) -> None:
    """Pin folder and cut for the stage that reads them; no other would hear of them."""
    from tessera.platform.pipeline.snapshot import snapshot as pin

    if "request" not in stage.reads:
        option = "--data" if data else "--cut"
        raise BadParams(f"{stage.name} does not read {option}: give it to ingest or to a whole run")
    pin(workspace, cut, data)


def infer(
    folder: Annotated[Path, typer.Argument(help="Folder with your files.")],
    profile: Annotated[str, typer.Option(help="Name of the profile to write.")] = "mine",
    write: Annotated[bool, typer.Option("--write", help="Write profiles/<profile>.yaml.")] = False,
) -> None:
    """Guess what each file and column of your data is, and write a profile to edit."""
    from tessera.platform.cli import infer as guess
    from tessera.platform.workspace.paths import find_root

    found = guess.suggest(folder)
    guess.show(found)
    if write:
        guess.write(found, folder, find_root() / "profiles" / f"{profile}.yaml")
        typer.echo(
            f"written: profiles/{profile}.yaml; look at it, then "
            f"`tessera run ingest --profile {profile} --data {folder}`"
        )


def ui(
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Port of Airflow.")] = 8080,
    mlflow_port: Annotated[int, typer.Option(min=1024, max=65535, help="Port of MLflow.")] = 5000,
) -> None:
    """Start Airflow and MLflow on this machine, and stop both on Ctrl-C."""
    from tessera.platform.cli.ui import serve
    from tessera.platform.workspace.paths import find_root

    serve(find_root(), port, mlflow_port)


def recommend(
    user: Annotated[str, typer.Argument(help="An investor's id.")],
    profile: Profile = DEFAULT_PROFILE,
    k: Annotated[int, typer.Option(min=1, max=1000, help="Length of the list.")] = 10,
    source: Annotated[
        str | None,
        typer.Option(help="List what one retriever finds, as serve.shares names it, in its order."),
    ] = None,
) -> None:
    """Print what the published model recommends to one investor, and why.

    As of the cut: what happened since, and what the service has shown (serve.cap_shown), does not
    count. Whoever was erased is a stranger here too.
    """
    from tessera.platform.cli.listed import judged_as
    from tessera.platform.release.pointer import current_bundle
    from tessera.platform.workspace.params import serve_params
    from tessera.serve.recommend import Recommender

    workspace = open_workspace(profile)
    bundle = current_bundle(workspace)
    recommender = Recommender.open(bundle, serve_params(workspace))
    if told := recommender.unknown_note(user):
        typer.echo(told)
    lines = recommender.recommend(user, k, source)
    if not lines:
        lacks = source and recommender.recommend(user, 1)  # another one has something to say
        told = f"{source} can say nothing of {user!r}: ask another --source" if lacks else None
        typer.echo(told or recommender.why_empty(user))
        return
    title = f"{bundle.name}: {user}" + (f", found by {source}" if source else "")
    table = Table("", "item", "name", "category", "why", title=plain(title))
    for place, line in enumerate(lines, start=1):
        shown = (line.item_id, line.name, line.category, line.reason)
        table.add_row(str(place), *map(plain, shown))
    Console().print(table, escape(judged_as(bundle)), sep="\n")


def ablate(
    part: Annotated[
        list[str] | None, typer.Argument(help="Parts of the model; without any, all.")
    ] = None,
    profile: Profile = DEFAULT_PROFILE,
    seeds: Annotated[int, typer.Option(min=1, max=20, help="Train each so many times.")] = 1,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs, in place of hstu.epochs.")
    ] = None,
) -> None:
    """Measure what each part of the model is worth: train again without it."""
    os.environ.update(one_thread())
    from tessera.platform.pipeline.ablate import ablate as measure

    measure(open_workspace(profile), part or [], seeds, epochs)


def doctor(
    profile: Profile = DEFAULT_PROFILE,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair what can be repaired, then check again.")
    ] = False,
) -> None:
    """Check the environment, the params, every store and the published model."""
    from tessera.platform.cli.doctor import examine

    examine(open_workspace(profile), repair)
