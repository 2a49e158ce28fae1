"""One run at a time works on a profile: who holds `data/<profile>/`, and who takes it next.

A scheduler may start a backfill beside the daily run.  Each run takes the run lock before its first
step, and a step of a run that has lost it refuses, so that two runs never mix their artifacts.
Where several workers share a profile, the run lock lies where they meet.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

from tessera.contracts.errors import TesseraError
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace


def holder(workspace: Workspace) -> str | None:
    """Run that took the run lock last, None before the first."""
    path = _folder(workspace) / ".run_lock.json"
    return str(files.read_json(path)["run"]) if path.exists() else None


def take_run_lock(workspace: Workspace, run: str, is_running: Callable[[str], bool]) -> bool:
    """Give the run lock to a run unless another one that still runs holds it; tell whether it did.

    Parameters
    ----------
    workspace : Workspace
        The profile.
    run : str
        Run that asks.
    is_running : Callable[[str], bool]
        Tells whether the run of that name has not ended yet.
    """
    folder = _folder(workspace)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".run_lock.guard").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = holder(workspace)
        if before not in (None, run) and is_running(str(before)):
            return False
        files.write_json({"run": run}, folder / ".run_lock.json")
    return True


def require_run_lock(workspace: Workspace, run: str) -> None:
    """Stop a step of a run that has lost its run lock.

    Raises
    ------
    TesseraError
        If another run has taken the profile since.
    """
    now = holder(workspace)
    if now not in (None, run):
        raise TesseraError(
            f"run {now} has taken over data/{workspace.profile}: "
            "clear this run from its first task on to take it back"
        )


def _folder(workspace: Workspace) -> Path:
    return workspace.exchange or workspace.data
