"""How far the ledger of looks had come when an act was done: none can be taken out of it again.

Each act writes down number and hash of the newest look.  Where the ledger was lost since, acts that
do not lean on it (a rollback, an override) go on with a warning and repeat what the one before
saw: else the first of them would make the loss good.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from tessera.contracts.errors import BrokenHistory
from tessera.platform.release.chain import NOTHING, Chain, digest
from tessera.platform.workspace.paths import HISTORY, LINES, LOOKS, Workspace

REMEDY = f"bring registry/{LOOKS}{LINES} and its head back from a backup"


def chain(workspace: Workspace) -> Chain:
    """Return the looks of all profiles as a chain."""
    return Chain(workspace, workspace.state, LOOKS)


def fault(workspace: Workspace) -> str | None:
    """Return what is wrong with the ledger, in words that follow "is"; None if nothing.

    Raises
    ------
    BrokenSeal
        If its key is gone.
    """
    try:
        return chain(workspace).fault() or _missing(workspace)
    except BrokenHistory:
        return f"broken at its end: {LOOKS}.head.json cannot be read"


def anchor(workspace: Workspace) -> dict[str, Any]:
    """Return what an act writes down: `entries` and `sha256` of the newest look."""
    found = fault(workspace)
    if found is None:
        told = chain(workspace).head()
        return {name: told[name] for name in ("entries", "sha256")}
    line = f"warning: the ledger of looks is {found}: nothing is judged until you {REMEDY}"
    typer.echo(line, err=True)
    return _seen(workspace, workspace.registry) or {"entries": 0, "sha256": NOTHING}


def _missing(workspace: Workspace) -> str | None:
    """Say if the ledger does not hold what the newest act of some profile saw in it."""
    lines = chain(workspace).lines()
    for path in sorted(workspace.state.glob(f"*/{HISTORY}{LINES}")):
        seen = _seen(workspace, path.parent)
        if not seen:
            continue
        n = int(seen["entries"])
        held = digest(lines[n - 1]) if 0 < n <= len(lines) else NOTHING
        if held != seen["sha256"]:
            return f"broken at entry {n}: the last act of profile {path.parent.name} saw another"
    return None


def _seen(workspace: Workspace, folder: Path) -> dict[str, Any] | None:
    acts = Chain(workspace, folder, HISTORY).entries()
    return acts[-1].get("looks") if acts else None
