"""Whether slates are drawn: to stop that, and to let it go on, is an act.

A service that follows the registry shows the best while it is stopped, marked as unexplored, so
that no verdict is given by them.  A publication does not let it go on: whoever stopped it had a
reason that another model does not take away.
"""

from __future__ import annotations

from tessera.contracts.errors import GateClosed
from tessera.platform.release.history import RESUME, STOP, exploring, history
from tessera.platform.release.journal import commit, one_act
from tessera.platform.release.overrides import stated
from tessera.platform.release.pointer import current_version
from tessera.platform.workspace.paths import Workspace

__all__ = ["RESUME", "STOP", "explores", "resume", "stop"]


def explores(workspace: Workspace) -> bool:
    """Return whether slates are to be drawn, as the last act on it says."""
    return exploring(history(workspace))


def stop(workspace: Workspace, reason: str, approver: str | None = None) -> bool:
    """Let the best be shown from now on; tell whether that changed anything.

    Raises
    ------
    BadParams
        If there is no reason, or the approver is nobody.
    BrokenHistory
        If the history is not what the acts wrote.
    """
    why, who = stated(reason, approver)
    with one_act(workspace):
        if not explores(workspace):
            return False
        _record(workspace, STOP, why, who)
        return True


def resume(workspace: Workspace, reason: str, approver: str) -> None:
    """Let slates be drawn again, which a person answers for.

    Raises
    ------
    GateClosed
        If it was not stopped.
    BadParams, BrokenHistory
        As `stop` does.
    """
    why, who = stated(reason, approver)
    with one_act(workspace):
        if explores(workspace):
            raise GateClosed("exploration is not stopped: there is nothing to let go on")
        _record(workspace, RESUME, why, who)


def _record(workspace: Workspace, act: str, reason: str, approver: str | None) -> None:
    stays = current_version(workspace)
    told = {"reason": reason, "approver": approver}
    commit(workspace, {"act": act, "from": stays, "to": stays, **told})
