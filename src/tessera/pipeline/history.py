"""Every act is kept for ever: a line for each, and each line holds the hash of the one before.

`history.jsonl` is only ever appended to.  `history.head.json` holds how many lines there are and
the hash of the newest, which no line comes after.  Whoever changes, removes, inserts or cuts off an
entry is found out; whoever writes the whole chain and its head anew is not, unless the head was
kept elsewhere (`tessera history --verify` prints it).
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from tessera.contracts.errors import BrokenHistory
from tessera.pipeline import files
from tessera.pipeline.paths import Home

FILE = "history.jsonl"
HEAD = "history.head.json"
NOTHING = "0" * 64
"""What the first entry holds as the hash of the line before."""
_MOVES = ("enthrone", "publish", "promote", "rollback")
"""Acts that change which version is current."""

Entry = Mapping[str, Any]


def history(place: Home) -> list[dict[str, Any]]:
    """Every act so far, oldest first; a line that cannot be read is an empty entry."""
    return [_parsed(line) for line in _lines(place)]


def head(place: Home) -> dict[str, Any]:
    """Return number and hash of the newest entry, as they were written with it."""
    path = place.registry / HEAD
    return read_state(path) if path.exists() else {"entries": 0, "sha256": NOTHING}


def read_state(path: Path) -> dict[str, Any]:
    """Read one of the small files that say what is published.

    Raises
    ------
    BrokenHistory
        If it is no JSON.
    """
    try:
        return dict(files.read_json(path))
    except ValueError as error:
        raise BrokenHistory(f"{path} cannot be read: bring it back from a backup") from error


def next_line(place: Home, facts: Mapping[str, Any]) -> str:
    """Return the line that would record an act now, without its end."""
    lines = _lines(place)
    entry = {
        "n": len(lines) + 1,
        "previous": _digest(lines[-1]) if lines else NOTHING,
        "at": now(),
        "who": _who(),
        **facts,
    }
    return json.dumps(entry)


def append(place: Home, line: str) -> None:
    """Record an act, once: a line that is the newest already is not written again."""
    lines = _lines(place)
    if not lines or lines[-1] != line:
        with (place.registry / FILE).open("ab+") as stream:
            _drop_torn_line(stream)
            stream.write(line.encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
    write_head(place, line)


def write_head(place: Home, line: str) -> None:
    """Write down the newest entry's number and hash."""
    newest = {"entries": _parsed(line)["n"], "sha256": _digest(line)}
    files.write_json(newest, place.registry / HEAD)


def fault(place: Home, pending: str | None = None) -> str | None:
    """Verify the chain; return what is wrong with it and at which entry, None if it is whole.

    Parameters
    ----------
    place : Home
        The profile.
    pending : str or None
        Line of an interrupted act, which may or may not stand in the history yet.
    """
    lines = _lines(place)
    if lines and "previous" not in _parsed(lines[0]) and not (place.registry / HEAD).exists():
        return "of an older format without hashes"
    before = NOTHING
    for number, line in enumerate(lines, start=1):
        entry = _parsed(line)
        if entry.get("n") != number:
            return f"broken at entry {number}: it is not the one that was written there"
        if entry.get("previous") != before:
            told = f"entry {number} holds another hash of it"
            return f"broken at entry {max(number - 1, 1)}: {told}"
        before = _digest(line)
    return _fault_at_the_end(place, lines, pending)


def _fault_at_the_end(place: Home, lines: list[str], pending: str | None) -> str | None:
    written = head(place)
    told = (int(written["entries"]), str(written["sha256"]))
    found = (len(lines), _digest(lines[-1]) if lines else NOTHING)
    if pending and lines and lines[-1] == pending and told != found:
        found = (len(lines) - 1, str(_parsed(pending)["previous"]))
    if told == found:
        return None
    if told[0] > found[0]:
        return f"broken at entry {found[0] + 1}: it is missing"
    if told[0] < found[0]:
        return f"broken at entry {told[0] + 1}: no act wrote it"
    return f"broken at entry {found[0]}: {HEAD} holds another hash of it"


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


def judged_since(entries: Iterable[Entry], version: str | None) -> list[str]:
    """Candidates that were weighed since a version was first published, each once, oldest first.

    To bring a version back starts no new count: it has the challengers that it had before.  Where
    nothing was estimated (a log that cannot be read) the verdict names no candidate.

    >>> acts = [("publish", "a"), ("hold", "b"), ("hold", "c"), ("hold", "b")]
    >>> told = [{"act": a, "to": "v1", "candidate": c, "decision": "HOLD"} for a, c in acts]
    >>> judged_since(told, "v1")
    ['b', 'c']
    """
    acts = list(entries)
    published = [
        n
        for n, entry in enumerate(acts, start=1)
        if entry.get("act") in _MOVES and entry["to"] == version
    ]
    later = acts[min(published, default=0) :]
    return list(dict.fromkeys(e["candidate"] for e in later if e.get("candidate")))


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


def now() -> str:
    """Return the moment in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _lines(place: Home) -> list[str]:
    path = place.registry / FILE
    if not path.exists():
        return []
    text = path.read_bytes().decode(errors="replace")
    # A line without its end was cut off by a crash: the next act writes it again.
    return text.split("\n")[:-1]


def _parsed(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _digest(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()


def _drop_torn_line(stream: BinaryIO) -> None:
    stream.seek(0)
    whole = stream.read().rfind(b"\n") + 1
    stream.truncate(whole)


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for its user
        return f"uid {os.getuid()}"
