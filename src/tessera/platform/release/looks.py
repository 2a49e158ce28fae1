"""The ledger of looks: every candidate that was ever weighed, by the log that it was weighed on.

`registry/looks.jsonl` is a chain of lines that all profiles share.  Each verdict that shows
estimates leaves a line before anybody can see it: which log, which candidate, its place and share.
What counts is the log, not the profile, the cut, the command or the files' names: two logs of
which a sample of requests (`sketch`) meets are one stream, and so is what they grow into.  A stream
has one error rate for ever, which its k-th candidate gets the share alpha 6 / (pi^2 k^2) of.
Streams that were judged apart had an error rate each; once a log joins them, k counts the
candidates of all, so that from then on no more is spent than one stream could have left.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tessera.contracts.errors import BrokenHistory
from tessera.offpolicy.holm import share_of
from tessera.platform.release import seals
from tessera.platform.release.history import LOOKS_REMEDY, looks_chain, looks_fault
from tessera.platform.release.served_log import Log, read_sketch, written
from tessera.platform.workspace.paths import Workspace

Entry = Mapping[str, Any]


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


@contextmanager
def one_judge(workspace: Workspace) -> Iterator[None]:
    """Let one candidate at a time be judged in a registry, so that no two take the same place.

    Raises
    ------
    BrokenHistory
        If the ledger is not what the looks before left: no share could be told.
    BrokenSeal
        If its key is gone.
    """
    seals.require_key(workspace)
    with (workspace.state / ".looks.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        require_whole(workspace)
        yield


def require_whole(workspace: Workspace) -> None:
    """Refuse a ledger that somebody else wrote.

    Raises
    ------
    BrokenHistory
        If there is anything wrong with it.
    """
    found = looks_fault(workspace)
    if found:
        raise BrokenHistory(
            f"the ledger of looks is {found}; nothing can be judged: {LOOKS_REMEDY}, "
            "or move registry/ away to begin anew"
        )


def newest_look(workspace: Workspace, candidate: str) -> dict[str, Any] | None:
    """Return the last line about what a candidate asked, None if it was never weighed.

    Raises
    ------
    BrokenHistory
        If there is anything wrong with the ledger.
    """
    require_whole(workspace)
    entries = looks_chain(workspace).entries()
    asked = {entry.get("asked") for entry in entries if entry.get("candidate") == candidate}
    return next((entry for entry in reversed(entries) if entry.get("asked") in asked), None)


def stand(workspace: Workspace, log: Log, candidate: str, alpha: float) -> Stands:
    """Tell which place a candidate has on a log, and whether this very look was taken before.

    Parameters
    ----------
    workspace : Workspace
        The profile, within `one_judge`.
    log : Log
        State of the log.
    candidate : str
        Identity of what is judged and how.
    alpha : float
        Error rate of a stream that begins now; one that goes on keeps its own if that is less.
    """
    entries = _relevant(looks_chain(workspace).entries(), log)
    candidates = list(dict.fromkeys(entry["candidate"] for entry in entries))
    mine = [entry for entry in entries if entry["candidate"] == candidate]
    states = list(dict.fromkeys(entry["log"]["sha256"] for entry in mine))
    k = _place(candidates, candidate)
    alpha = min([alpha, *(float(entry["alpha"]) for entry in entries)])
    streams = [*dict.fromkeys(stream for entry in entries for stream in entry["streams"])]
    streams = streams or [log.sha256]
    share = share_of(alpha, k)
    told = {
        "stream": streams[0],
        "k": k,
        "look": _place(states, log.sha256),
        "alpha": alpha,
        "share": share,
        "spent": _spent(entries, candidate) + (0.0 if mine else share),
        "log": log.facts,
    }
    return Stands(told, tuple(streams), log.sha256 in states)


def counted_as(workspace: Workspace, asked: str, log: Log, inputs: str) -> str:
    """Return the candidate that a look counts for: another one where what was seen has changed.

    A bound of many looks wants that what it takes from a request stays as it was.  So the same
    candidate goes on if all that it was judged on stands unchanged in this log, the rows that its
    reward model learnt from and every answer; and if a state of the log that it was judged on
    comes with the same inputs.  Else, as by answers that came late, it is tried again.

    Parameters
    ----------
    workspace : Workspace
        The profile, within `one_judge`.
    asked : str
        What `identity` returned.
    log : Log
        State of the log.
    inputs : str
        Hash of everything else that is judged: scores, traits, prices and codes.
    """
    entries, candidate = looks_chain(workspace).entries(), asked
    while not _goes_on([e for e in entries if e["candidate"] == candidate], log, inputs):
        candidate = hashlib.sha256(f"{candidate} again".encode()).hexdigest()
    return candidate


def _goes_on(mine: list[dict[str, Any]], log: Log, inputs: str) -> bool:
    """Whether another look by a candidate finds all that its former looks found."""
    same = [entry for entry in mine if entry["log"]["sha256"] == log.sha256]
    if same or not mine:
        return all(entry.get("inputs") == inputs for entry in same)
    found = {entry.get("answered_us"): entry.get("rows") for entry in mine}
    end = log.answered_us
    ends = [one for one in found if one is not None]
    if end is None or len(ends) < len(found) or max(ends) > end:
        return False
    return log.rows_until(ends) == found


def record(workspace: Workspace, stands: Stands, log: Log, facts: Mapping[str, Any]) -> None:
    """Write down a look before anybody sees its verdict.

    Parameters
    ----------
    workspace : Workspace
        The profile, within `one_judge`.
    stands : Stands
        What `stand` told.
    log : Log
        State of the log.
    facts : Mapping[str, Any]
        Candidate, what was asked (`identity`), decision, hashes of verdict and inputs.
    """
    ledger = looks_chain(workspace)
    states = {entry["log"]["sha256"] for entry in ledger.entries()}
    sketch = "" if log.sha256 in states else written(log.sketch)
    told = {"profile": workspace.profile, **facts, **stands.told, "streams": stands.streams}
    ledger.append(ledger.next_line({**told, **_found(log), "sketch": sketch}))


def _found(log: Log) -> dict[str, Any]:
    """Say until when a log could answer, and with what: later looks must find it unchanged."""
    end = log.answered_us
    return {"answered_us": end, "rows": None if end is None else log.rows_until([end])[end]}


def _relevant(entries: list[dict[str, Any]], log: Log) -> list[dict[str, Any]]:
    """Find the looks at this log, at what it grew from, at its parts, and at what it is part of."""
    met = log.meeting(set().union(*(_sketch(entry) for entry in entries)))
    streams = {stream for entry in entries if met & _sketch(entry) for stream in entry["streams"]}
    while True:
        reached = [entry for entry in entries if streams.intersection(entry["streams"])]
        wider = streams.union(*(entry["streams"] for entry in reached))
        if wider == streams:
            return reached
        streams = wider


def _sketch(entry: Entry) -> set[int]:
    return read_sketch(str(entry.get("sketch", "")))


def _spent(entries: list[dict[str, Any]], candidate: str) -> float:
    """Sum the shares of the candidates until this one, as they were told.

    Those of streams that met later count in full.
    """
    ends = [n for n, entry in enumerate(entries) if entry["candidate"] == candidate]
    before = entries[: ends[0]] if ends else entries
    found: dict[tuple[str, str], float] = {}
    for entry in [*before, *(entries[n] for n in ends)]:
        key = str(entry["candidate"]), str(entry["stream"])
        found[key] = max(float(entry["share"]), found.get(key, 0.0))
    return sum(found.values())


def _place(known: list[str], one: str) -> int:
    return known.index(one) + 1 if one in known else len(known) + 1


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
