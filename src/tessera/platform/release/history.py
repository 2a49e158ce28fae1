"""Every act is kept for ever, in a chain of lines (`chain.py`): what was done, by whom and why.

`history.jsonl` is only ever appended to.  `history.head.json` holds how many lines there are and
the hash of the newest, under a MAC.  Whoever changes, removes, inserts or cuts off an entry is
found out; whoever has the key writes the whole chain anew unseen, unless the head was kept
elsewhere (`tessera history --verify` prints it).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tessera.platform.release.chain import Chain
from tessera.platform.workspace.paths import HISTORY, Workspace

# `enthrone` is what a bootstrap was called in histories of before.
_MOVES = ("bootstrap", "enthrone", "publish", "promote", "rollback")
"""Acts that change which version is current."""

Entry = Mapping[str, Any]


def chain(workspace: Workspace) -> Chain:
    """Return the acts of a profile as a chain."""
    return Chain(workspace, workspace.registry, HISTORY)


def history(workspace: Workspace) -> list[dict[str, Any]]:
    """Every act so far, oldest first; a line that cannot be read is an empty entry."""
    return chain(workspace).entries()


def head(workspace: Workspace) -> dict[str, Any]:
    """Return number and hash of the newest entry, as they were written with it."""
    return chain(workspace).head()


def next_line(workspace: Workspace, facts: Mapping[str, Any]) -> str:
    """Return the line that would record an act now, without its end."""
    return chain(workspace).next_line(facts)


def append(workspace: Workspace, line: str) -> None:
    """Record an act, once: a line that is the newest already is not written again."""
    chain(workspace).append(line)


def fault(workspace: Workspace, pending: str | None = None) -> str | None:
    """Verify the chain; return what is wrong with it and at which entry, None if it is whole."""
    return chain(workspace).fault(pending)


def moves(entries: Iterable[Entry]) -> list[Entry]:
    """Those acts that made a version current."""
    return [entry for entry in entries if entry.get("act") in _MOVES]


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
