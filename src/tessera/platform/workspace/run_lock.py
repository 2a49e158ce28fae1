"""One run at a time works on a profile: who holds `data/<profile>/`, and who takes it next.

A scheduler may start a backfill beside the daily run.  Each run takes its turn before its first
step, and a step of a run that has lost it refuses, so that two runs never mix their artifacts.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable

from tessera.contracts.errors import TesseraError
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace


def holder(place: Workspace) -> str | None:
    """Run that took the last turn, None before the first."""
    path = place.data / ".turn.json"
    return str(files.read_json(path)["run"]) if path.exists() else None


def take_turn(place: Workspace, run: str, is_running: Callable[[str], bool]) -> bool:
    """Give the turn to a run unless another one that still runs holds it; return whether it has it.

    Parameters
    ----------
    place : Home
        The profile.
    run : str
        Run that asks.
    is_running : Callable[[str], bool]
        Tells whether the run of that name has not ended yet.
    """
    place.data.mkdir(parents=True, exist_ok=True)
    with (place.data / ".turn.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = holder(place)
        if before not in (None, run) and is_running(str(before)):
            return False
        files.write_json({"run": run}, place.data / ".turn.json")
    return True


def require_turn(place: Workspace, run: str) -> None:
    """Stop a step of a run that has lost its turn.

    Raises
    ------
    TesseraError
        If another run has taken the profile since.
    """
    now = holder(place)
    if now not in (None, run):
        raise TesseraError(
            f"run {now} has taken over data/{place.profile}: "
            "clear this run from its first task on to take it back"
        )
