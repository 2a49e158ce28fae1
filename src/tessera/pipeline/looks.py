"""The ledger of looks: every candidate that was ever weighed, by the log that it was weighed on.

`registry/looks.jsonl` is a chain of lines that all profiles share.  Each verdict that shows
estimates leaves a line before anybody can see it: which log, which candidate, its place and share.
What counts is the log, not the profile, the cut, the command or the files' names: two logs of
which a sample of requests (`sketch`) meets are one stream, and so is what they grow into.  A stream
has one error rate for ever, which its k-th candidate gets the share alpha 6 / (pi^2 k^2) of.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from tessera.contracts.errors import BrokenHistory
from tessera.ope.holm import spent
from tessera.pipeline import files, seals
from tessera.pipeline.chain import LOOKS, NOTHING, Chain, digest
from tessera.pipeline.paths import Home

_SKETCH = 1024
"""Requests by which a log is known again: those with the least hashes.  A part of it with one
request in a hundred is missed once in 20,000."""
_DIGITS = 16
_REQUESTS = """
    SELECT md5_number_lower(concat_ws('|', epoch_us(min(event_ts)), min(user_id),
        string_agg(item_id, ',' ORDER BY position, item_id))) AS request
    FROM read_parquet(?) GROUP BY request_id
"""
"""Hash of who was shown what when: request ids are names, and another run may give others."""

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Log:
    """One state of a served log."""

    sha256: str
    """Of its rows as they lie in the files."""
    facts: dict[str, Any]
    """Rows, first and last moment."""
    sketch: tuple[int, ...]
    """Least hashes of its requests, rising; empty if nothing was shown."""


@dataclass(frozen=True, slots=True)
class Stands:
    """Where a candidate stands on a log."""

    told: dict[str, Any]
    """What the verdict says of it: `stream`, `k` (place of the candidate, from 1), `look` (place of
    this state of the log among those it was judged on, from 1), `alpha` of the stream, `share` of
    this candidate, `spent` by it and those before it, `log`."""
    streams: tuple[str, ...]
    """All streams that the log is part of; usually one."""
    known: bool
    """Whether this very look stands in the ledger."""


def chain(place: Home) -> Chain:
    """Return the looks of all profiles as a chain."""
    return Chain(place, place.state, LOOKS)


@contextmanager
def one_judge(place: Home) -> Iterator[None]:
    """Let one candidate at a time be judged in a registry, so that no two take the same place.

    Raises
    ------
    BrokenHistory
        If the ledger is not what the looks before left: no share could be told.
    BrokenSeal
        If its key is gone.
    """
    seals.require_key(place)
    with (place.state / ".looks.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        require_whole(place)
        yield


def require_whole(place: Home) -> None:
    """Refuse a ledger that somebody else wrote.

    Raises
    ------
    BrokenHistory
        If there is anything wrong with it.
    """
    found = chain(place).fault() or _missing(place)
    if found:
        raise BrokenHistory(
            f"the ledger of looks is {found}; nothing can be judged: bring registry/{LOOKS}.jsonl "
            "and its head back from a backup, or move registry/ away to begin anew"
        )


def _missing(place: Home) -> str | None:
    """Say if the ledger does not hold what the newest act of some profile saw in it."""
    lines = chain(place).lines()
    for path in sorted(place.state.glob("*/history.jsonl")):
        acts = Chain(place, path.parent, path.stem).entries()
        seen = acts[-1].get("looks") if acts else None
        if not seen:
            continue
        n = int(seen["entries"])
        held = digest(lines[n - 1]) if 0 < n <= len(lines) else NOTHING
        if held != seen["sha256"]:
            return f"broken at entry {n}: the last act of profile {path.parent.name} saw another"
    return None


def newest_look(place: Home, candidate: str) -> dict[str, Any] | None:
    """Return the last line about a candidate, None if it was never weighed.

    Raises
    ------
    BrokenHistory
        If there is anything wrong with the ledger.
    """
    require_whole(place)
    mine = [entry for entry in chain(place).entries() if entry.get("candidate") == candidate]
    return mine[-1] if mine else None


def read_log(exposures: Path, outcomes: Path) -> Log:
    """Read what tells a log from others.

    Parameters
    ----------
    exposures, outcomes : Path
        Parquet files as in the contracts.
    """
    digest = hashlib.sha256(f"{files.sha256(exposures)} {files.sha256(outcomes)}".encode())
    with duckdb.connect() as db:
        where = [str(exposures)]
        rows, first, last = _one(
            db, "SELECT count(*), epoch_us(min(event_ts)), epoch_us(max(event_ts)) "
            "FROM read_parquet(?)", where,
        )  # fmt: skip
        least = db.execute(
            f"SELECT DISTINCT request FROM ({_REQUESTS}) ORDER BY request LIMIT {_SKETCH}", where
        ).fetchall()
    facts = {"sha256": digest.hexdigest(), "rows": rows, "first_us": first, "last_us": last}
    return Log(digest.hexdigest(), facts, tuple(int(row[0]) for row in least))


def stand(place: Home, exposures: Path, log: Log, candidate: str, alpha: float) -> Stands:
    """Tell which place a candidate has on a log, and whether this very look was taken before.

    Parameters
    ----------
    place : Home
        The profile, within `one_judge`.
    exposures : Path
        File of the log.
    log : Log
        What `read_log` read of it.
    candidate : str
        Identity of what is judged and how.
    alpha : float
        Error rate of a stream that begins now; one that goes on keeps its own if that is less.
    """
    entries = _relevant(chain(place).entries(), exposures)
    candidates = list(dict.fromkeys(entry["candidate"] for entry in entries))
    mine = [entry for entry in entries if entry["candidate"] == candidate]
    states = list(dict.fromkeys(entry["log"]["sha256"] for entry in mine))
    k = _place(candidates, candidate)
    alpha = min([alpha, *(float(entry["alpha"]) for entry in entries)])
    streams = [*dict.fromkeys(stream for entry in entries for stream in entry["streams"])]
    streams = streams or [log.sha256]
    told = {
        "stream": streams[0],
        "k": k,
        "look": _place(states, log.sha256),
        "alpha": alpha,
        "share": spent(alpha, k),
        "spent": sum(spent(alpha, place) for place in range(1, k + 1)),
        "log": log.facts,
    }
    return Stands(told, tuple(streams), log.sha256 in states)


def distinct(place: Home, candidate: str, log: Log, inputs: str) -> str:
    """Tell a candidate from one that was weighed on the same log by other inputs.

    Scores, traits, prices and codes grow with the log, so they are no part of a candidate's
    identity; on one state of a log, other inputs are another try.
    """
    entries = chain(place).entries()
    mine = [e for e in entries if e["candidate"] == candidate and e["log"]["sha256"] == log.sha256]
    if all(entry.get("inputs") == inputs for entry in mine):
        return candidate
    return hashlib.sha256(f"{candidate} {inputs}".encode()).hexdigest()


def record(place: Home, stands: Stands, log: Log, facts: Mapping[str, Any]) -> None:
    """Write down a look before anybody sees its verdict.

    Parameters
    ----------
    place : Home
        The profile, within `one_judge`.
    stands : Stands
        What `stand` told.
    log : Log
        State of the log.
    facts : Mapping[str, Any]
        Candidate, decision and hash of the verdict.
    """
    ledger = chain(place)
    states = {entry["log"]["sha256"] for entry in ledger.entries()}
    sketch = "" if log.sha256 in states else "".join(f"{one:0{_DIGITS}x}" for one in log.sketch)
    told = {"profile": place.profile, **facts, **stands.told, "streams": stands.streams}
    ledger.append(ledger.next_line({**told, "sketch": sketch}))


def _relevant(entries: list[dict[str, Any]], exposures: Path) -> list[dict[str, Any]]:
    """Find the looks at this log, at what it grew from, at its parts, and at what it is part of."""
    met = _meeting(entries, exposures)
    streams = {stream for entry in entries if met & _sketch(entry) for stream in entry["streams"]}
    while True:
        reached = [entry for entry in entries if streams.intersection(entry["streams"])]
        wider = streams.union(*(entry["streams"] for entry in reached))
        if wider == streams:
            return reached
        streams = wider


def _meeting(entries: Iterable[Entry], exposures: Path) -> set[int]:
    """Sketched requests of former logs that this one holds."""
    known = sorted(set().union(*(_sketch(entry) for entry in entries)))
    if not known:
        return set()
    with duckdb.connect() as db:
        db.execute("CREATE TABLE known AS SELECT unnest(?::UBIGINT[]) AS request", [known])
        found = db.execute(
            f"SELECT DISTINCT request FROM ({_REQUESTS}) WHERE request IN (FROM known)",
            [str(exposures)],
        ).fetchall()
    return {int(row[0]) for row in found}


def _sketch(entry: Entry) -> set[int]:
    text = str(entry.get("sketch", ""))
    return {int(text[at : at + _DIGITS], 16) for at in range(0, len(text), _DIGITS)}


def _place(known: list[str], one: str) -> int:
    return known.index(one) + 1 if one in known else len(known) + 1


def _one(db: duckdb.DuckDBPyConnection, query: str, values: list[str]) -> tuple[Any, ...]:
    row = db.execute(query, values).fetchone()
    assert row is not None
    return tuple(row)


def identity(cut: str, ope: Mapping[str, Any], model: str, champion: str) -> str:
    """Return the identity of a candidate: what is judged, how, and against what.

    To ask again in another way, or against another champion, is to try again.

    Parameters
    ----------
    cut : str
        Moment that the sequence of its bounds starts at.
    ope : Mapping[str, Any]
        Section `ope`: the policy it would serve with, and how it is judged.  A batch is one
        candidate: Holm divides its share.
    model, champion : str
        Hashes of the two sides.
    """
    text = json.dumps([cut, ope, model, champion], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
