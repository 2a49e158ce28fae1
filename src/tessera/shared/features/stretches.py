"""What came before a moment, for many groups and moments at once: counts that cannot look ahead.

Shapes: E rows, Q queries, U versions of users, R requests.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tessera.contracts import mapped
from tessera.contracts.arrays import Ints
from tessera.contracts.lookup import distinct_of


class Clock:
    """Distinct moments in order; a rank stands for a moment in the keys of an index."""

    def __init__(self, moment_E: Ints) -> None:
        self._moments = distinct_of(moment_E)

    @property
    def span(self) -> int:
        """Ranks there are."""
        return len(self._moments) + 1

    def rank(self, moment_Q: Ints) -> Ints:
        """Return how many distinct moments are strictly before each."""
        return self._moments.searchsorted(moment_Q)


class Index:
    """Rows sorted by group and time: those of a group before a moment are one stretch."""

    def __init__(self, group_E: Ints, rank_E: Ints, span: int, folder: Path | None = None) -> None:
        """Sort the rows; the index lies in `folder`, None keeps it in memory."""
        self._span = span
        key_E = group_E * span + rank_E
        order_E = np.argsort(key_E, kind="stable")
        self.order_E = mapped.stored(order_E, folder)
        self._key_E = mapped.stored(key_E[order_E], folder)

    def stretch(self, group_Q: Ints, rank_Q: Ints) -> tuple[Ints, Ints]:
        """Return first and stop, in sorted order, of the group's rows strictly before."""
        base_Q = group_Q * self._span
        key_E = self._key_E
        return key_E.searchsorted(base_Q), key_E.searchsorted(base_Q + rank_Q)

    def count(self, group_Q: Ints, rank_Q: Ints) -> Ints:
        """Count the group's rows strictly before the moment; groups below 0 have none."""
        first_Q, stop_Q = self.stretch(group_Q, rank_Q)
        return np.asarray(stop_Q - first_Q)


class Versions:
    """Rows that hold from a moment on, until the user's next one."""

    def __init__(self, user_U: Ints, since_U: Ints) -> None:
        self._clock = Clock(since_U)
        self._index = Index(user_U, self._clock.rank(since_U), self._clock.span)

    def last(self, user_R: Ints, moment_R: Ints) -> Ints:
        """Return the row of each user's last version at or before a moment, -1 without any."""
        first_R, stop_R = self._index.stretch(user_R, self._clock.rank(moment_R + 1))
        row_R = np.full(len(first_R), -1)
        known_R = stop_R > first_R
        row_R[known_R] = self._index.order_E[stop_R[known_R] - 1]
        return row_R

    def of(self, user: int) -> Ints:
        """Return the rows of one user, oldest first."""
        first, stop = self._index.stretch(np.array([user]), np.array([self._clock.span]))
        return self._index.order_E[first[0] : stop[0]]
