"""The command line: `tessera run` does the main job, the rest are its parts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from tessera.contracts.errors import TesseraError
from tessera.contracts.library_errors import first_line, library
from tessera.platform.cli.cli_acts import floors, history, hold, promote, publish, rollback, verdict
from tessera.platform.cli.cli_alarms import alarms, dashboards, exploration
from tessera.platform.cli.cli_canary import canary
from tessera.platform.cli.cli_fetch import fetch
from tessera.platform.cli.cli_inner import dvc, render, snapshot, task
from tessera.platform.cli.cli_mix import mix
from tessera.platform.cli.cli_monitor import monitor
from tessera.platform.cli.cli_report import report
from tessera.platform.cli.cli_serve import consume, key, serve
from tessera.platform.cli.cli_served import served
from tessera.platform.cli.cli_sid import sid
from tessera.platform.cli.cli_simulate import simulate
from tessera.platform.cli.cli_work import (
    ablate,
    cluster,
    doctor,
    infer,
    recommend,
    run,
    stages,
    ui,
)

app = typer.Typer(
    help="Train a recommender, judge it on logged data, and publish it only if it is better.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Work with it": (stages, run, infer, ui, cluster, recommend, sid, ablate, doctor),
    "Serve it": (serve, fetch, consume, key, served, mix, canary, simulate),
    "Called by DVC, Airflow and make": (snapshot, dvc, render, task),
    "Decide what is published": (
        publish,
        verdict,
        promote,
        hold,
        rollback,
        history,
        floors,
        exploration,
    ),
    "Watch it": (monitor, alarms, dashboards, report),
}
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)


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
            _say(f"{told().rstrip('.')}. See `tessera --help`.")
        else:
            what = f"{library(error)} says {type(error).__name__} {first_line(error)!r}"
            _say(f"{what}: this was not expected here, run again with --debug to see where")
    raise SystemExit(2)


def _say(line: str) -> None:
    typer.echo(f"error: {' '.join(line.split())}", err=True)
