"""What is kept for ever, in chains of lines (`chain.py`): acts, and how far the looks had come.

`history.jsonl` says what was done, by whom and why, and is only ever appended to.
`history.head.json` holds how many lines there are and the hash of the newest, under a MAC.  Whoever
changes, removes, inserts or cuts off an entry is found out; whoever has the key writes the whole
chain anew unseen, unless the head was kept elsewhere (`tessera history --verify` prints it).

Each act writes down number and hash of the newest look, so that none can be taken out of the ledger
of looks again.  Where that was lost since, acts that do not lean on it (a rollback, an override) go
on with a warning and repeat what the one before saw: else the first of them would make the loss
good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import typer

from tessera.contracts.errors import BrokenHistory
from tessera.platform.release.chain import NOTHING, Chain, digest
from tessera.platform.workspace.paths import HISTORY, LINES, LOOKS, Workspace

LOOKS_REMEDY = f"bring registry/{LOOKS}{LINES} and its head back from a backup"
# `enthrone` is what a bootstrap was called in histories of before.
_MOVES = ("bootstrap", "enthrone", "publish", "promote", "rollback")
"""Acts that change which version is current."""
STOP, RESUME = "explore-stop", "explore-resume"
"""Acts on whether slates are drawn."""
CANARY_END = "canary-end"
"""Act that ends a canary for good."""

Entry = Mapping[str, Any]


def chain(workspace: Workspace) -> Chain:
    """Return the acts of a profile as a chain."""
    return Chain(workspace, workspace.registry, HISTORY)


def history(workspace: Workspace) -> list[dict[str, Any]]:
    """Every act so far, oldest first; a line that cannot be read is an empty entry."""
    return chain(workspace).entries()


def looks_chain(workspace: Workspace) -> Chain:
    """Return the looks of all profiles as a chain."""
    return Chain(workspace, workspace.state, LOOKS)


def looks_fault(workspace: Workspace) -> str | None:
    """Return what is wrong with the ledger of looks, in words that follow "is"; None if nothing.

    Raises
    ------
    BrokenSeal
        If its key is gone.
    """
    try:
        return looks_chain(workspace).fault() or _missing_look(workspace)
    except BrokenHistory:
        return f"broken at its end: {LOOKS}.head.json cannot be read"


def anchor(workspace: Workspace) -> dict[str, Any]:
    """Return what an act writes down: `entries` and `sha256` of the newest look."""
    found = looks_fault(workspace)
    if found is None:
        told = looks_chain(workspace).head()
        return {name: told[name] for name in ("entries", "sha256")}
    line = f"warning: the ledger of looks is {found}: nothing is judged until you {LOOKS_REMEDY}"
    typer.echo(line, err=True)
    return _seen(chain(workspace)) or {"entries": 0, "sha256": NOTHING}


def _missing_look(workspace: Workspace) -> str | None:
    """Say if the ledger does not hold what the newest act of some profile saw in it."""
    lines = looks_chain(workspace).lines()
    for path in sorted(workspace.state.glob(f"*/{HISTORY}{LINES}")):
        seen = _seen(Chain(workspace, path.parent, HISTORY))
        if not seen:
            continue
        n = int(seen["entries"])
        held = digest(lines[n - 1]) if 0 < n <= len(lines) else NOTHING
        if held != seen["sha256"]:
            return f"broken at entry {n}: the last act of profile {path.parent.name} saw another"
    return None


def _seen(acts: Chain) -> dict[str, Any] | None:
    entries = acts.entries()
    return entries[-1].get("looks") if entries else None


def moves(entries: Iterable[Entry]) -> list[Entry]:
    """Those acts that made a version current."""
    return [entry for entry in entries if entry.get("act") in _MOVES]


def telling(entry: Entry) -> bool:
    """Whether an act changes what a service asks the registry."""
    return entry.get("act") in (*_MOVES, STOP, RESUME, CANARY_END)


def exploring(entries: Iterable[Entry]) -> bool:
    """Whether slates are to be drawn, as the last act on it says."""
    acts = [entry["act"] for entry in entries if entry.get("act") in (STOP, RESUME)]
    return acts[-1:] != [STOP]


def ended(entries: Iterable[Entry]) -> list[str]:
    """Identities of the canaries that were ended."""
    return [str(one.get("tried_identity")) for one in entries if one.get("act") == CANARY_END]


def versions_behind(entries: Iterable[Entry]) -> list[str]:
    """Versions that led to the current one, which is the last; a rollback takes some away.

    >>> acts = [("publish", "v1"), ("publish", "v2"), ("publish", "v3"), ("rollback", "v1")]
    >>> versions_behind({"act": act, "to": version} for act, version in acts)
    ['v1']
    """
    path: list[str] = []
    for entry in moves(entries):
        if entry["act"] == "rollback":
            while path and path[-1] != entry["to"]:
                path.pop()
        if not path or path[-1] != entry["to"]:
            path.append(entry["to"])
    return path


def returned(entries: Iterable[Entry]) -> bool:
    """Whether the last move made a version current that had been so before."""
    reached = [entry["to"] for entry in moves(entries)]
    return bool(reached) and reached[-1] in reached[:-1]


def waits(entries: Iterable[Entry], identity: str) -> bool:
    """Whether a candidate that the verdict lets through waits for a person to approve it.

    >>> acts = [{"act": "wait", "identity": "a"}, {"act": "wait", "identity": "b"}]
    >>> waits(acts, "a"), waits([*acts, {"act": "promote", "identity": "a"}], "a")
    (True, False)
    """
    told = [entry["act"] for entry in entries if entry.get("identity") == identity]
    return told[-1:] == ["wait"]


def override_of(entries: Iterable[Entry]) -> Entry | None:
    """Return the last act that made what is current now so, if it was against the verdict.

    A rollback is no new judgement: what it brings back stands as it stood when it was published.
    """
    path = moves(entries)
    if not path:
        return None
    now_current = path[-1]["to"]
    made = [entry for entry in path if entry["to"] == now_current and entry["act"] != "rollback"]
    return made[-1] if made and made[-1].get("override_reason") else None
