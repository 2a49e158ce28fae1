"""To train again is asked for by an act; whoever runs the pipeline heeds it."""

from __future__ import annotations

from typing import Any

from tessera.platform.release.history import history
from tessera.platform.release.journal import commit, one_act
from tessera.platform.release.overrides import stated
from tessera.platform.release.pointer import current_version
from tessera.platform.workspace.paths import Workspace

RETRAIN = "retrain"


def ask(workspace: Workspace, reason: str) -> None:
    """Ask for a run of the pipeline; nothing else changes.

    Raises
    ------
    BadParams
        If there is no reason.
    BrokenHistory
        If the history is not what the acts wrote.
    """
    why, _ = stated(reason, None)
    with one_act(workspace):
        stays = current_version(workspace)
        commit(workspace, {"act": RETRAIN, "from": stays, "to": stays, "reason": why})


def asked(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the acts that asked, oldest first."""
    return [one for one in history(workspace) if one.get("act") == RETRAIN]
