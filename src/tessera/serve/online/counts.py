"""How often each item was met until a moment that moves on, without looking for it again.

Requests come in the order of time, so that a count as of one of them is that of the one before it
and the few events between; to search the log for each candidate would be slower the longer it is.

Shapes: I items with 0 for unknown, E events of some actions, oldest first, Q candidates of one
request.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from tessera.contracts.arrays import Ints
from tessera.shared.features.facts import Facts, Queries


@dataclass(slots=True)
class _Running:
    """Counts of one kind as of the latest moment so far."""

    item_E: Ints
    rank_E: Ints
    """Ascending."""
    count_I: Ints
    rank: int = 0
    """What is before it is counted."""

    def move_to(self, rank: int) -> None:
        if rank == self.rank:
            return
        first, stop = np.searchsorted(self.rank_E, [self.rank, rank])
        if stop - first < len(self.count_I):
            np.add.at(self.count_I, self.item_E[first:stop], 1)
        else:
            self.count_I += np.bincount(self.item_E[first:stop], minlength=len(self.count_I))
        self.rank = rank


class ItemCounts:
    """Events of one set of facts, counted as `Facts.item_counts` does."""

    def __init__(self, facts: Facts) -> None:
        """Count nothing until somebody asks."""
        self._facts = facts
        self._running: dict[tuple[tuple[int, ...], int], _Running] = {}
        self._lock = threading.Lock()

    def of_request(self, actions: tuple[int, ...], asked: Queries, ago_us: int = 0) -> Ints:
        """Count what anybody did with each candidate Q before one request, or so long before it.

        A request older than the latest is searched for.
        """
        (rank,) = self._facts.clock.rank(asked.moment_R - ago_us).tolist()
        with self._lock:
            running = self._running.get((actions, ago_us)) or self._begin(actions, ago_us)
            if rank >= running.rank:
                running.move_to(rank)
                return running.count_I[asked.item_Q]
        return self._facts.item_counts(actions, asked, ago_us)

    def _begin(self, actions: tuple[int, ...], ago_us: int) -> _Running:
        rows_E = self._facts.rows(*actions)
        rows_E = rows_E[np.argsort(self._facts.rank_E[rows_E], kind="stable")]
        count_I = np.zeros(len(self._facts.risk_I), np.int64)
        found = _Running(self._facts.item_E[rows_E], self._facts.rank_E[rows_E], count_I)
        self._running[actions, ago_us] = found
        return found
