"""The command line: `tessera run` does the main job, the rest are its parts."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tessera.contracts.errors import BadParams, TesseraError
from tessera.contracts.library_errors import first_line, library
from tessera.platform.cli.cli_acts import Profile, floors, history, hold, promote, rollback
from tessera.platform.cli.cli_serve import key, serve
from tessera.platform.pipeline.forkserver import one_thread
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace, open_workspace

if TYPE_CHECKING:
    from tessera.platform.workspace.catalogue import Stage

app = typer.Typer(
    help="Train a recommender, judge it on logged data, and publish it only if it is better.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
_WORK, _RELEASE, _INNER = (
    "Work with it",
    "Decide what is published",
    "Called by DVC, Airflow and make",
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"tessera {version('tessera')}")
        raise typer.Exit


@app.callback()
def before(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Train a recommender, judge it on logged data, and publish it only if it is better."""


@app.command("stages", rich_help_panel=_WORK)
def list_stages(profile: Profile = DEFAULT_PROFILE) -> None:
    """List the stages of the pipeline, with what each reads and writes."""
    from tessera.platform.workspace.catalogue import stages
    from tessera.platform.workspace.params import source_of

    table = Table("stage", "does", "reads", "writes")
    for stage in stages(source_of(open_workspace(profile))):
        table.add_row(stage.name, stage.doc, ", ".join(stage.reads), ", ".join(stage.writes))
    Console().print(table)


@app.command(rich_help_panel=_WORK)
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
        raise BadParams(f"{stage.name} reads no {option}: give it to ingest, or to a whole run")
    pin(workspace, cut, data)


@app.command(rich_help_panel=_INNER)
def snapshot(profile: Profile = DEFAULT_PROFILE) -> None:
    """Copy the state that a run starts from: champion, ledger of codes, request."""
    from tessera.platform.pipeline.snapshot import snapshot as pin
    from tessera.platform.workspace.params import load_params

    workspace = open_workspace(profile)
    load_params(workspace)
    source = os.environ.get("TESSERA_SOURCE")
    pin(workspace, os.environ.get("TESSERA_CUT"), Path(source) if source else None)


@app.command(rich_help_panel=_INNER)
def dvc(profile: Profile = DEFAULT_PROFILE) -> None:
    """Print the dvc.yaml of a profile."""
    from tessera.platform.pipeline.dvc import render as text

    typer.echo(text(open_workspace(profile)), nl=False)


@app.command(rich_help_panel=_INNER)
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


@app.command(rich_help_panel=_RELEASE)
def publish(
    profile: Profile = DEFAULT_PROFILE,
    override_reason: Annotated[
        str | None, typer.Option(help="Publish even against the verdict; this reason is recorded.")
    ] = None,
) -> None:
    """Publish the new model if its verdict or a recorded reason allows it, as a run does."""
    from tessera.platform.pipeline import main_job

    done = main_job.publish(open_workspace(profile), override_reason)
    state = f"published {done.version}" if done.moved else f"{done.version or 'nothing'} stays"
    typer.echo(f"{done.decision}: {state} ({done.reason})")


@app.command(rich_help_panel=_INNER)
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


@app.command(rich_help_panel=_WORK)
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


@app.command(rich_help_panel=_WORK)
def ui(
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Port of Airflow.")] = 8080,
    mlflow_port: Annotated[int, typer.Option(min=1024, max=65535, help="Port of MLflow.")] = 5000,
) -> None:
    """Start Airflow and MLflow on this machine, and stop both on Ctrl-C."""
    from tessera.platform.cli.ui import serve
    from tessera.platform.workspace.paths import find_root

    serve(find_root(), port, mlflow_port)


@app.command(rich_help_panel=_WORK)
def recommend(
    user: Annotated[str, typer.Argument(help="An investor's id.")],
    profile: Profile = DEFAULT_PROFILE,
    k: Annotated[int, typer.Option(min=1, max=1000, help="Length of the list.")] = 10,
) -> None:
    """Print what the published model recommends to one investor, and why."""
    from tessera.platform.release.pointer import current_bundle
    from tessera.serve.recommend import Recommender, judged_as

    bundle = current_bundle(open_workspace(profile))
    recommender = Recommender.open(bundle)
    if told := recommender.unknown_note(user):
        typer.echo(told)
    lines = recommender.recommend(user, k)
    if not lines:
        typer.echo(recommender.why_empty(user))
        return
    table = Table("", "item", "name", "category", "why", title=f"{bundle.name}: {escape(user)}")
    for place, line in enumerate(lines, start=1):
        shown = (line.item_id, line.name, line.category, line.reason)
        table.add_row(str(place), *map(escape, shown))
    Console().print(table, escape(judged_as(bundle)), sep="\n")


@app.command(rich_help_panel=_RELEASE)
def verdict(
    profile: Profile = DEFAULT_PROFILE,
    version: Annotated[str | None, typer.Option(help="Of this published version, as v1.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
    page: Annotated[
        Path | None, typer.Option(help="Write the page with pictures to this file.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check its signature.")] = False,
) -> None:
    """Show the verdict on the new model, or on a published version, with its evidence."""
    workspace = open_workspace(profile)
    from tessera.platform.cli.summary import check_signature, save_page, show_verdict

    if check:
        typer.echo(check_signature(workspace, version or None))
        return
    if page is not None:
        save_page(workspace, page, version or None)
    if as_json:
        from tessera.platform.release.acts import proposal

        typer.echo(json.dumps(proposal(workspace, version or None)))
    elif page is not None:
        typer.echo(page)
    else:
        show_verdict(workspace, version=version)


@app.command(rich_help_panel=_WORK)
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


@app.command(rich_help_panel=_WORK)
def doctor(
    profile: Profile = DEFAULT_PROFILE,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair what can be repaired, then check again.")
    ] = False,
) -> None:
    """Check the environment, the params, every store and the published model."""
    from tessera.platform.cli.doctor import examine

    examine(open_workspace(profile), repair)


for command in (promote, hold, rollback, history, floors):
    app.command(rich_help_panel=_RELEASE)(command)
app.command(rich_help_panel=_WORK)(serve)
app.command(rich_help_panel=_WORK)(key)


def main() -> None:
    """Run the command line; a mistake is one line and exit code 2, a traceback only on request."""
    debug = "--debug" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--debug"]
    try:
        raise SystemExit(app(standalone_mode=False) or 0)
    except TesseraError as error:
        if debug:
            raise
        _say(str(error))
    except Exception as error:
        if debug:
            raise
        told = getattr(error, "format_message", None)
        if told:  # a wrong option or argument
            _say(f"{told()} See `tessera --help`.")
        else:
            what = f"{library(error)} says {type(error).__name__} {first_line(error)!r}"
            _say(f"{what}: nobody foresaw it here, run again with --debug to see where")
    raise SystemExit(2)


def _say(line: str) -> None:
    typer.echo(f"error: {' '.join(line.split())}", err=True)
