"""Run one step of the pipeline as a scheduler's task: the snapshot, a stage, or an act."""

from __future__ import annotations

from dataclasses import dataclass, field

import typer

from tessera.contracts.errors import BadParams, TesseraError
from tessera.platform.pipeline import main_job
from tessera.platform.pipeline.dvc import dvc, target
from tessera.platform.pipeline.exchange import FIRST, LAST, Exchange, open_exchange
from tessera.platform.pipeline.told import told
from tessera.platform.release.acts import proposal
from tessera.platform.workspace.catalogue import ALL_STAGES, find, stages, upstream
from tessera.platform.workspace.params import load_params, require_said, source_of
from tessera.platform.workspace.paths import Workspace
from tessera.platform.workspace.run_lock import require_run_lock

SKIPPED = 99
"""Exit code that tells Airflow that there was nothing to do."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a run is asked for, and which run it is."""

    request: main_job.Request = field(default_factory=main_job.Request)
    override_reason: str | None = None
    approval: bool = False
    """Let a PROMOTE wait for a person."""
    run: str | None = None
    """Run of the scheduler that the step belongs to; None by hand."""


def run_task(workspace: Workspace, name: str, order: Order) -> int:
    """Run a step and return the exit code: 0, or `SKIPPED` if there is nothing to do.

    That is a stage that the profile has not, or the step `waiting` if no candidate waits for
    approval; its last line is the identity of the one that does.

    Raises
    ------
    TesseraError
        If the step failed, is unknown, or belongs to a run that has lost its run lock.
    """
    if order.run:
        require_run_lock(workspace, order.run)
    if name == "waiting":
        return _waiting(workspace)
    exchange = open_exchange(workspace, order.run)
    if name == LAST:
        return _publish(workspace, order, exchange)
    if name != FIRST and find(name, stages(source_of(workspace))) is None:
        return _skip(name)
    _work(workspace, name, order, exchange)
    for line in told(workspace, name):
        typer.echo(line)
    return 0


def _publish(workspace: Workspace, order: Order, exchange: Exchange | None) -> int:
    if exchange:
        exchange.receive(LAST)
    done = main_job.publish(workspace, order.override_reason, order.approval)
    typer.echo(f"{done.decision}: {done.version or 'nothing'} is current ({done.reason})")
    return 0


def _work(workspace: Workspace, name: str, order: Order, exchange: Exchange | None) -> None:
    """Run the snapshot or a stage, between what others left and what is left to others."""
    if name == FIRST:
        load_params(workspace)
        require_said(order.override_reason)
    if name == FIRST or exchange:
        main_job.write_pipeline(workspace)
    if exchange:
        exchange.receive(name)
    _repro(workspace, name, order.request)
    if exchange and order.run:
        require_run_lock(workspace, order.run)  # another run may have taken it meanwhile
        exchange.send(name)


def forced(name: str, request: main_job.Request) -> bool:
    """Whether a step must run even if nothing changed: every stage, or one and those after it."""
    if name == FIRST:
        return False
    return request.force or (
        request.from_stage is not None and name in downstream(request.from_stage)
    )


def downstream(name: str) -> set[str]:
    """Return a stage and every stage that reads, directly or not, what it writes.

    Raises
    ------
    BadParams
        If there is no such stage.
    """
    if find(name, ALL_STAGES) is None:
        raise _unknown(name)
    reached = {name}
    for stage in ALL_STAGES:
        if reached.intersection(upstream(stage, ALL_STAGES)):
            reached.add(stage.name)
    return reached


def _repro(workspace: Workspace, name: str, request: main_job.Request) -> None:
    arguments = [
        "--wait-for-lock",
        "repro",
        "--single-item",
        "--no-run-cache",
        target(workspace, name),
    ]
    if forced(name, request):
        arguments.insert(2, "--force")
    extra = {"TESSERA_SOURCE": str(request.data or ""), "TESSERA_CUT": request.cut or ""}
    if dvc(workspace, *arguments, extra=extra) != 0:
        raise TesseraError(f"{name} stopped: fix what it says above, then clear this task")


def _waiting(workspace: Workspace) -> int:
    candidate = proposal(workspace)
    if not candidate["waits"]:
        return SKIPPED
    typer.echo(candidate["identity"])
    return 0


def _skip(name: str) -> int:
    if find(name, ALL_STAGES) is None:
        raise _unknown(name)
    return SKIPPED


def _unknown(name: str) -> BadParams:
    names = ", ".join(stage.name for stage in ALL_STAGES)
    return BadParams(f"no step {name!r}: choose one of snapshot, {names}, publish, waiting")
