"""Events as flat arrays, one stretch per user, in an order that ties cannot change.

Legend: E events, U users (stretch u is `first_U1[u] : first_U1[u + 1]`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ibis import Table
from numpy.typing import NDArray

from tessera.contracts.split import Split, test, train, validation
from tessera.contracts.tables import ACTIONS

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

TRAIN, VALIDATION, TEST = 0, 1, 2
LATER = 3
"""After the test period."""


@dataclass(frozen=True, slots=True)
class Histories:
    """Every user's events, sorted by user, phase and time."""

    user_id_U: list[str]
    first_U1: Ints
    item_E: Ints
    """Row in the item table; 0 is padding and never occurs."""
    action_E: Ints
    moment_E: Ints
    """Microseconds since 1970."""
    phase_E: Ints
    group_E: Ints
    """Distinct times of the same user before this event."""

    @property
    def second_E(self) -> Ints:
        """Return whole seconds since 1970."""
        return self.moment_E // 1_000_000

    @property
    def user_E(self) -> Ints:
        """Return the index of each event's user."""
        return np.repeat(np.arange(len(self.user_id_U)), np.diff(self.first_U1))

    @property
    def next_second_E(self) -> Ints:
        """Return the next distinct time of the same user; an event's own time if it is the last."""
        start_S, set_E = self.sets()
        after_E = np.append(start_S, 0)[set_E + 1]
        has_next_E = (after_E > 0) & (self.user_E[after_E] == self.user_E)
        return np.where(has_next_E, self.second_E[after_E], self.second_E)

    def sets(self) -> tuple[Ints, Ints]:
        """Return where each tied set starts, and the set of each event."""
        fresh_E = np.ones(len(self.item_E), bool)
        fresh_E[1:] = (np.diff(self.group_E) != 0) | (np.diff(self.user_E) != 0)
        return np.flatnonzero(fresh_E), np.cumsum(fresh_E) - 1

    def until(self, phase: int) -> Ints:
        """Return stop_U: where each user's events of earlier phases and this one end."""
        kept_E = np.concatenate([[0], np.cumsum(self.phase_E <= phase)])
        stop_U: Ints = self.first_U1[:-1] + np.diff(kept_E[self.first_U1])
        return stop_U


def read_histories(
    events: Table, split: Split, vocabulary: list[str], *, tied_sets: bool
) -> Histories:
    """Read the events of known items; with `tied_sets` the order within one time is canonical.

    It is drawn by hash: a window that cuts a tied set must not keep the last ids of the alphabet.
    """
    events = events.select("event_id", "user_id", "item_id", "action", "event_ts")
    rows = _labelled(events, split).to_pyarrow()
    rows = rows.append_column("draw", _draw(rows))
    order = ["draw", "item_id", "action", "event_id"] if tied_sets else ["event_id"]
    rows = rows.sort_by([(key, "ascending") for key in ["user_id", "phase", "event_ts", *order]])
    row_E = pc.index_in(rows["item_id"], pa.array(vocabulary, pa.string()))
    rows, row_E = rows.filter(pc.is_valid(row_E)), pc.drop_null(row_E)
    user = rows["user_id"].combine_chunks().dictionary_encode()
    user_E = user.indices.to_numpy()
    blank = Histories(
        user_id_U=user.dictionary.to_pylist(),
        first_U1=np.searchsorted(user_E, np.arange(len(user.dictionary) + 1)),
        item_E=row_E.to_numpy().astype(np.int64) + 1,
        action_E=pc.index_in(rows["action"], pa.array(ACTIONS)).to_numpy().astype(np.int64),
        moment_E=rows["event_ts"].cast(pa.int64()).to_numpy(),
        phase_E=rows["phase"].to_numpy(),
        group_E=np.zeros(len(rows), np.int64),
    )
    return regroup(blank, blank.moment_E if tied_sets else np.arange(len(rows)))


def last_sessions(histories: Histories, gap_s: float) -> Histories:
    """Return what a stranger's visit shows: of the known events, the last session alone.

    A session ends where nothing happens for longer than `gap_s`.  Events after the cut stay.
    """
    if not len(histories.item_E):
        return histories
    user_E, known_E = histories.user_E, histories.phase_E <= VALIDATION
    pause_E = np.diff(histories.moment_E) > gap_s * 1_000_000
    session_E = np.append(0, np.cumsum(pause_E | (np.diff(user_E) != 0)))
    last_U = histories.until(VALIDATION) - 1
    kept_E = ~known_E | (session_E == session_E[last_U][user_E])
    first_U1 = np.append(0, np.cumsum(kept_E))[histories.first_U1]
    kept = replace(
        histories,
        first_U1=first_U1,
        item_E=histories.item_E[kept_E],
        action_E=histories.action_E[kept_E],
        moment_E=histories.moment_E[kept_E],
        phase_E=histories.phase_E[kept_E],
        group_E=histories.group_E[kept_E],
    )
    return regroup(kept, kept.group_E)


def _draw(rows: pa.Table) -> pa.Array:
    """Return a number for each user and item, as random as their hashes, the same in every run."""
    mixed_E = np.zeros(len(rows), np.uint64)
    for name in ("user_id", "item_id"):
        ids = rows[name].combine_chunks().dictionary_encode()
        known = (one.encode() for one in ids.dictionary.to_pylist())
        digests = [hashlib.blake2b(one, digest_size=8).digest() for one in known]
        hash_V = np.frombuffer(b"".join(digests), "<u8")
        mixed_E = (mixed_E ^ hash_V[ids.indices.to_numpy()]) * np.uint64(0x9E3779B97F4A7C15)
    return pa.array(mixed_E)


def _labelled(events: Table, split: Split) -> Table:
    parts = [
        part(events, split).mutate(phase=ibis.literal(phase, "int64"))
        for phase, part in ((TRAIN, train), (VALIDATION, validation), (TEST, test))
    ]
    if split.protocol == "time":
        later = events.filter(events.event_ts > split.test_until)
        parts.append(later.mutate(phase=ibis.literal(LATER, "int64")))
    return ibis.union(*parts)


def regroup(histories: Histories, label_E: Ints) -> Histories:
    """Count the runs of equal labels within each user; a change of phase also ends a run."""
    fresh_E = np.ones(len(label_E), bool)
    fresh_E[1:] = (np.diff(label_E) != 0) | (np.diff(histories.phase_E) != 0)
    first_U = histories.first_U1[:-1]
    fresh_E[first_U] = True
    count_E = np.cumsum(fresh_E)
    return replace(histories, group_E=count_E - count_E[first_U][histories.user_E])


def split_sets(histories: Histories, share: float, rng: np.random.Generator) -> Histories:
    """Cut a share of the tied sets in two at random: what came first is unknown, so try both."""
    start_S, set_E = histories.sets()
    events, size_S = len(set_E), np.bincount(set_E)
    order_E = np.lexsort((rng.random(events), set_E))
    cut_S = 1 + np.floor(rng.random(len(size_S)) * (size_S - 1)).astype(np.int64)
    is_cut_S = (size_S > 1) & (rng.random(len(size_S)) < share)
    late_E = is_cut_S[set_E] & (np.arange(events) - start_S[set_E] >= cut_S[set_E])
    shuffled = replace(
        histories, item_E=histories.item_E[order_E], action_E=histories.action_E[order_E]
    )
    return regroup(shuffled, set_E * 2 + late_E)
