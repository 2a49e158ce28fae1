"""The main job: repro the pipeline of a profile, publish if the gate opens, say what happened."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import typer

from tessera.contracts.errors import BrokenStore, TesseraError
from tessera.platform.pipeline.dvc import dvc, render, target
from tessera.platform.pipeline.forkserver import forkserver
from tessera.platform.release import registry
from tessera.platform.tracking.tracking import log_pending
from tessera.platform.workspace import files
from tessera.platform.workspace.params import check_section, load_params
from tessera.platform.workspace.paths import Workspace

_TRACK_EVERY_S = 2.0
_LAST = 19
"""Least priority that Linux knows; it holds for one thread."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a person may ask of one run."""

    data: Path | None = None
    """Folder with the official files."""
    cut: str | None = None
    force: bool = False
    """Run every stage even if nothing changed."""
    from_stage: str | None = None
    """Run this stage and those after it even if nothing changed."""


def write_pipeline(workspace: Workspace) -> bool:
    """Render dvc.yaml; return whether it changed."""
    text = render(workspace)
    if workspace.dvc_yaml.exists() and workspace.dvc_yaml.read_text() == text:
        return False
    files.write_bytes(text.encode(), workspace.dvc_yaml)
    return True


def repro(workspace: Workspace, request: Request) -> None:
    """Bring every stage of a profile up to date.

    Raises
    ------
    TesseraError
        If a stage failed; its own line stands above.
    """
    # Outputs that dvc restores from its run cache would not match the records of the last run.
    calls = [
        ["repro", "--no-run-cache", *(["--force"] if request.force else []), target(workspace)]
    ]
    if request.from_stage:
        again = ["repro", "--force", "--downstream", target(workspace, request.from_stage)]
        calls = [["repro", "--single-item", target(workspace, "snapshot")], again]
    extra: dict[str, str] = {}
    if request.data:
        extra["TESSERA_SOURCE"] = str(request.data)
    if request.cut:
        extra["TESSERA_CUT"] = request.cut
    with forkserver(), _tracking(workspace):
        failed = any(dvc(workspace, *arguments, extra=extra) != 0 for arguments in calls)
    if failed:
        raise TesseraError(
            "the pipeline stopped: fix what the failed stage says above, then run again"
        )


@contextmanager
def _tracking(workspace: Workspace) -> Iterator[None]:
    """Log stages that ended while the next one runs: this process only waits meanwhile."""
    ended = threading.Event()

    def follow() -> None:
        with suppress(OSError):  # stages come first
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LAST)
        with suppress(BrokenStore):  # said once, when what ran is logged at the end
            while not ended.wait(_TRACK_EVERY_S):
                log_pending(workspace.records, workspace.tracking, quiet=True)

    with ThreadPoolExecutor(1) as aside:
        work = aside.submit(follow)
        try:
            yield
        finally:
            ended.set()
        work.result()


def publish(
    workspace: Workspace, override_reason: str | None = None, approval: bool = False
) -> registry.Published:
    """Publish the candidate if the gate allows, and log what ran.

    An override given now covers any verdict; one that stands in the params covers INVALID alone, so
    that a reason written once for a source without exposures never lets a worse model through, nor
    params that are looser than their floors.
    Approval is asked for by this run or by the params.
    """
    gate = load_params(workspace)["gate"].model_dump()
    if override_reason:
        gate = check_section("gate", {**gate, "override_reason": override_reason}).model_dump()
    elif not _stands(workspace):
        gate["override_reason"] = None
    asks = approval or gate["approval"]
    done = registry.publish(workspace, gate["override_reason"], gate["approver"], asks)
    track(workspace)
    return done


def _stands(workspace: Workspace) -> bool:
    """Whether a reason written once holds for this verdict: for an honest INVALID alone."""
    path = workspace.artifact("bundle") / "verdict.json"
    verdict = files.read_json(path) if path.exists() else {}
    return verdict.get("decision") == "INVALID" and not verdict.get("loosened")


def track(workspace: Workspace) -> None:
    """Log what ran since the last time; the registry is the truth, MLflow may stay behind."""
    try:
        log_pending(workspace.records, workspace.tracking)
    except BrokenStore as error:
        typer.echo(f"warning: {error}; what was published stands", err=True)
