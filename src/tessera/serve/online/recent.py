"""What anybody did after the bundle's cut, counted by item as of any moment.

Most of it lies sorted; the newest rows, a few hundred, are looked through one by one until they are
sorted in.

Shapes: N events after the cut, T newest of them, Q candidates of requests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tessera.contracts.arrays import Ints
from tessera.shared.features.facts import Facts, Queries

_TAIL = 512
"""So many newest events are not sorted in yet: sorting all of them costs what 512 looks do."""


@dataclass(frozen=True, slots=True)
class Seen:
    """All events until one of them; what comes later does not change it."""

    sorted: Facts
    tail_T3: Ints
    """Item, action and moment of those that are not sorted in."""

    def item_counts(self, actions: tuple[int, ...], asked: Queries, ago_us: int) -> Ints:
        """Do as `Facts.item_counts` for the events after the cut."""
        if not len(self.sorted.item_E) and not len(self.tail_T3):
            return np.zeros(len(asked.item_Q), np.int64)
        count_Q = self.sorted.item_counts(actions, asked, ago_us)
        item_T, action_T, moment_T = self.tail_T3.T
        counted_T = np.isin(action_T, actions)
        if not counted_T.any():
            return count_Q
        item_T, moment_T = item_T[counted_T], moment_T[counted_T]
        for request, moment in enumerate(asked.moment_R.tolist()):
            mine_Q = asked.request_Q == request
            before_T = item_T[moment_T < moment - ago_us]
            # A table of all items would cost more than to compare some hundred with some hundred.
            count_Q[mine_Q] += (asked.item_Q[mine_Q, None] == before_T).sum(axis=1)
        return count_Q


class Recent:
    """Events after the cut, of all investors; one thread adds at a time."""

    def __init__(self, base: Facts) -> None:
        """Start with none; `base` holds the events until the cut."""
        self._base = base
        self._event_N3 = np.zeros((_TAIL, 3), np.int64)
        self._count = 0
        self._sorted = self._facts(0)

    def emptied(self) -> Recent:
        """Return one with none."""
        return Recent(self._base)

    def add(self, item: int, action: int, moment: int) -> None:
        """Take in one event: row of the item, index into `ACTIONS`, microseconds since 1970."""
        if self._count == len(self._event_N3):
            self._event_N3 = np.concatenate([self._event_N3, np.zeros_like(self._event_N3)])
        self._event_N3[self._count] = item, action, moment
        self._count += 1
        if self._count - len(self._sorted.item_E) >= _TAIL:
            self._sorted = self._facts(self._count)

    def seen(self) -> Seen:
        """Return the events so far; rows are written once, so that nothing is copied."""
        return Seen(self._sorted, self._event_N3[len(self._sorted.item_E) : self._count])

    def _facts(self, stop: int) -> Facts:
        item_E, action_E, moment_E = self._event_N3[:stop].T.copy()
        return replace(
            self._base,
            user_E=np.zeros(stop, np.int64),
            item_E=item_E,
            action_E=action_E,
            moment_E=moment_E,
            folder=None,
        )
