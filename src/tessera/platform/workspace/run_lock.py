"""One run at a time works on a profile: who holds `data/<profile>/`, and who takes it next.

A scheduler may start a backfill beside the daily run.  Each run takes the run lock before its first
step, and a step of a run that has lost it refuses, so that two runs never mix their artifacts.
Where several workers share a profile, the run lock lies where they meet.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable

from tessera.contracts.errors import TesseraError, Unreadable
from tessera.platform.workspace.paths import EXCHANGE, Workspace
from tessera.platform.workspace.store import Folder, Store, Stored
from tessera.platform.workspace.stores import require_store

_FILE = ".run_lock.json"


def holder(workspace: Workspace) -> str | None:
    """Run that took the run lock last, None before the first."""
    store = _store(workspace)
    return _run(store, store.get(_FILE))


def take_run_lock(workspace: Workspace, run: str, is_running: Callable[[str], bool]) -> bool:
    """Give the run lock to a run unless another one that still runs holds it; tell whether it did.

    Of several that ask at once one gets it.

    Parameters
    ----------
    workspace : Workspace
        The profile.
    run : str
        Run that asks.
    is_running : Callable[[str], bool]
        Tells whether the run of that name has not ended yet.
    """
    if workspace.exchange:
        require_store(workspace.exchange, EXCHANGE)  # else each machine could have one of its own
    store = _store(workspace)
    seen = store.get(_FILE)
    before = _run(store, seen)
    if before not in (None, run) and is_running(str(before)):
        return False
    taken = {"run": run, "taken": secrets.token_hex(8)}  # whoever takes it again leaves a trace
    return store.replace(_FILE, json.dumps(taken).encode(), seen)


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


def _store(workspace: Workspace) -> Store:
    met = workspace.exchange
    return met.below(workspace.profile) if met else Folder(workspace.data)


def _run(store: Store, stored: Stored | None) -> str | None:
    if stored is None:
        return None
    try:
        return str(json.loads(stored.content)["run"])
    except (ValueError, KeyError, TypeError) as error:
        where = store.below(_FILE).address
        raise Unreadable(f"{where} is no run lock: remove it while no run works") from error
