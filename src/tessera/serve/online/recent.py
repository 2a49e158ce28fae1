"""What anybody did after the bundle's cut, counted by item as of any moment.

Rows are kept as they come and never moved.  A count starts from one that is known, of nothing, of
all rows or of the last request that asked the like, and only the rows that lie between are looked
at.  Requests ask what was before now, or before a month ago, and both moments move on slowly, so
what a request takes does not grow with the events.  Which blocks of rows can hold any between two
moments, the earliest and the latest of each block say.

Shapes: N events after the cut, B blocks of them, A actions, I items, T rows that are looked at,
Q candidates of requests.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tessera.contracts.arrays import Ints
from tessera.contracts.tables import ACTIONS
from tessera.shared.features.facts import Facts, Queries

_ROWS = 1_024
"""Events of a block."""
_FAR = 8.0
"""What is counted is kept for the next request if more blocks than that lie between."""
_ITEM, _ACTION, _MOMENT = range(3)
_NEVER, _ALWAYS = np.iinfo(np.int64).min, np.iinfo(np.int64).max


_Like = tuple[tuple[int, ...], int]
"""Actions that are counted, and how long before a request: what requests ask again and again."""


class _Where(NamedTuple):
    """What is counted: rows before a moment, among the first that came."""

    moment: int
    came: int


@dataclass(frozen=True, slots=True)
class _Counts:
    """Rows of some actions by item; never written again."""

    where: _Where
    count_I: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Seen:
    """All events until one of them; what comes later does not change it."""

    recent: Recent
    came: int

    def item_counts(self, actions: tuple[int, ...], asked: Queries, ago_us: int) -> Ints:
        """Do as `Facts.item_counts` for the events after the cut."""
        count_Q = np.zeros(len(asked.item_Q), np.int64)
        if not self.came:
            return count_Q
        for request, moment in enumerate(asked.moment_R.tolist()):
            mine_Q, where = asked.request_Q == request, _Where(moment - ago_us, self.came)
            count_Q[mine_Q] = self.recent.count((actions, ago_us), asked.item_Q[mine_Q], where)
        return count_Q


class Recent:
    """Events after the cut, of all investors; one thread adds at a time."""

    def __init__(self, base: Facts) -> None:
        """Start with none; `base` has the items."""
        self._base = base
        self._blocks: list[Ints] = []
        self._earliest_B = np.zeros(0, np.int64)
        self._latest_B = np.zeros(0, np.int64)
        self._total_AI = np.zeros((len(ACTIONS), len(base.risk_I)), np.int32)
        self._came = 0
        self._kept: dict[_Like, _Counts] = {}
        self._lock = threading.Lock()

    def emptied(self) -> Recent:
        """Return one with none."""
        return Recent(self._base)

    def add(self, item: int, action: int, moment: int) -> None:
        """Take in one event: row of the item, index into `ACTIONS`, microseconds since 1970."""
        block, row = divmod(self._came, _ROWS)
        with self._lock:
            if block == len(self._blocks):
                self._begin_block()
            self._blocks[block][row] = item, action, moment
            self._earliest_B[block] = min(self._earliest_B[block], moment)
            self._latest_B[block] = max(self._latest_B[block], moment)
            self._total_AI[action, item] += 1
            self._came += 1

    def _begin_block(self) -> None:
        blocks = len(self._blocks)
        if blocks == len(self._earliest_B):
            # New arrays, since somebody may be reading the old ones.
            more_B = np.zeros(max(64, blocks), np.int64)
            self._earliest_B = np.concatenate([self._earliest_B, more_B])
            self._latest_B = np.concatenate([self._latest_B, more_B])
        self._earliest_B[blocks], self._latest_B[blocks] = _ALWAYS, _NEVER
        self._blocks.append(np.zeros((_ROWS, 3), np.int64))

    def seen(self) -> Seen:
        """Return the events so far; rows are written once, so that nothing is copied."""
        return Seen(self, self._came)

    def count(self, like: _Like, item_Q: Ints, where: _Where) -> Ints:
        """Count rows by item; `like` says which actions, and what the next request will ask."""
        actions, _ = like
        with self._lock:
            total_Q = self._total_AI[np.array(actions)[:, None], item_Q].sum(0, dtype=np.int64)
            all_rows = _Where(_ALWAYS, self._came)
        known = [(_Where(_NEVER, where.came), np.zeros_like(total_Q)), (all_rows, total_Q)]
        if kept := self._kept.get(like):
            known.append((kept.where, kept.count_I[item_Q].astype(np.int64)))
        start, count_Q = min(known, key=lambda one: self._apart(one[0], where))
        if self._apart(start, where) > _FAR:
            self._kept[like] = self._table(like, where)
        for sign, item_T in self._between(actions, start, where):
            count_Q += sign * _counted(item_T, item_Q)
        return np.asarray(count_Q)

    def _table(self, like: _Like, where: _Where) -> _Counts:
        """Count rows of all items, from what was kept of the last time."""
        nothing = _Counts(_Where(_NEVER, where.came), np.zeros_like(self._total_AI[0]))
        start = min(nothing, self._kept.get(like, nothing),
                    key=lambda one: self._apart(one.where, where))  # fmt: skip
        count_I = start.count_I.copy()
        for sign, item_T in self._between(like[0], start.where, where):
            count_I += sign * np.bincount(item_T, minlength=len(count_I)).astype(np.int32)
        return _Counts(where, count_I)

    def _apart(self, start: _Where, where: _Where) -> float:
        """Return how many blocks have to be looked at between two counts."""
        earlier, later = sorted((start.moment, where.moment))
        came = abs(start.came - where.came) / _ROWS
        return came + len(self._blocks_between(earlier, later, where.came))

    def _blocks_between(self, earlier: int, later: int, came: int) -> Ints:
        """Return the blocks of the first rows that may hold some of a stretch of time.

        The last one may hold rows that came since, so it may be named without need.
        """
        blocks = -(-came // _ROWS)
        earliest_B, latest_B = self._earliest_B[:blocks], self._latest_B[:blocks]
        return np.flatnonzero((earliest_B < later) & (latest_B >= earlier))

    def _between(
        self, actions: tuple[int, ...], start: _Where, where: _Where
    ) -> Iterator[tuple[int, Ints]]:
        """Yield item_T of the rows that one count has beyond another, and whether they add."""
        first, stop = sorted((start.came, where.came))
        came_B = np.arange(first // _ROWS, -(-stop // _ROWS))
        row_T3 = self._rows(came_B, stop)[first % _ROWS :]
        is_before_T = row_T3[:, _MOMENT] < start.moment
        yield (1 if where.came > start.came else -1), _items(row_T3[is_before_T], actions)
        earlier, later = sorted((start.moment, where.moment))
        row_T3 = self._rows(self._blocks_between(earlier, later, where.came), where.came)
        is_between_T = (row_T3[:, _MOMENT] >= earlier) & (row_T3[:, _MOMENT] < later)
        yield (1 if where.moment > start.moment else -1), _items(row_T3[is_between_T], actions)

    def _rows(self, block_B: Ints, came: int) -> Ints:
        """Return row_T3 of some blocks, of the first that came."""
        parts = [self._blocks[block][: came - block * _ROWS] for block in block_B.tolist()]
        return np.concatenate(parts) if parts else np.zeros((0, 3), np.int64)


def _items(row_T3: Ints, actions: tuple[int, ...]) -> Ints:
    is_counted_A = np.zeros(len(ACTIONS), bool)
    is_counted_A[list(actions)] = True
    return np.asarray(row_T3[is_counted_A[row_T3[:, _ACTION]], _ITEM])


def _counted(item_T: Ints, item_Q: Ints) -> Ints:
    """Count rows by candidate; a table of all items would cost more.

    >>> _counted(np.array([7, 7, 5, 7]), np.array([5, 7, 9, 7]))
    array([1, 3, 0, 3])
    """
    if not len(item_T) or not len(item_Q):
        return np.zeros(len(item_Q), np.int64)
    distinct_K, place_Q = np.unique(item_Q, return_inverse=True)
    at_T = np.minimum(np.searchsorted(distinct_K, item_T), len(distinct_K) - 1)
    known_T = distinct_K[at_T] == item_T
    return np.bincount(at_T[known_T], minlength=len(distinct_K))[place_Q]
