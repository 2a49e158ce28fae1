"""Logged slates as training rows: what was shown, what came of it, and from which history.

One request of each stretch between two events is drawn an epoch, and the state before it is asked
for at the request's time: asked at the next event's time, it would know when the next event comes,
which for a click is the answer.

Legend: R requests, M positions of a slate, F features, T tasks, E events, W windows, B sequences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tessera.contracts import mapped
from tessera.contracts.arrays import Bools, Float32s, Ints
from tessera.model.nn.ranking import RankingBatch, RankingLabels
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.windows import Windows

REQUESTS = 1 << 14
"""Requests whose features are held in memory at a time."""


@dataclass(frozen=True, slots=True)
class Slates:
    """Requests with their slates, padded with item 0."""

    user_R: Ints
    """Index of the user in the histories; -1 without any event."""
    moment_R: Ints
    """Microseconds since 1970."""
    stop_R: Ints
    """Events strictly before the request end here."""
    item_RM: Ints
    position_RM: Ints
    feature_RMF: Float32s
    label_RMT: Float32s
    weight_RMT: Float32s
    """0 where the answer is not known."""

    def __len__(self) -> int:
        return len(self.user_R)

    def take(self, rows: NDArray[np.intp] | Bools) -> Slates:
        """Return the chosen requests."""
        return Slates(*(array[rows] for array in self.arrays()))

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Return every array, in order."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def on_disk(self, rows: Ints, folder: Path | None) -> Slates:
        """Return the chosen requests, their rows on disk."""
        return Slates(*(mapped.taken(array, rows, folder) for array in self.arrays()))

    def shown_features(self) -> Iterator[torch.Tensor]:
        """Yield feature_SF of the rows that are no padding, a part of the requests at a time."""
        for part in mapped.parts(len(self), REQUESTS):
            yield torch.from_numpy(self.feature_RMF[part][self.item_RM[part] > 0])

    def keys(self, first_U1: Ints) -> Ints:
        """Return a number that sorts requests by history; one before any event is odd."""
        key_R: Ints = self.stop_R * 2 + (self.stop_R == first_U1[self.user_R])
        return key_R

    def by_history(
        self, first_U1: Ints, stop_U: Ints, chosen_R: Bools, folder: Path | None = None
    ) -> Slates:
        """Keep the chosen requests of users known at the cut, sorted by the history before them.

        Whoever does nothing before it is left out, whatever comes later.

        Parameters
        ----------
        first_U1, stop_U
            Where each user's events begin, and where those until the cut end.
        chosen_R
            Which requests are wanted.
        folder
            Disk of what is kept; see `mapped.blank`.
        """
        order_R = np.lexsort((self.moment_R, self.keys(first_U1)))
        is_kept_R = chosen_R & np.append(stop_U > first_U1[:-1], False)[self.user_R]
        return self.on_disk(order_R[is_kept_R[order_R]], folder)

    def drawn(self, first_U1: Ints, share: float, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Draw one of each stretch between two events, and of these a share.

        Returns
        -------
        tuple of Ints
            Rows of what is drawn, and their keys, in ascending order.
        """
        order_R = rng.permutation(len(self))
        key_R = self.keys(first_U1)
        _, first = np.unique(key_R[order_R], return_index=True)
        chosen = order_R[first]
        chosen = chosen[rng.random(len(chosen)) < share]
        return chosen, key_R[chosen]


@dataclass(frozen=True, slots=True)
class Epoch:
    """The slates of one epoch, at most one in each stretch between two events."""

    slates: Slates
    """Those it is drawn from."""
    histories: Histories
    row_R: Ints
    """Which of them are drawn."""
    key_R: Ints
    """Their keys, in ascending order."""

    def asked_second(self, event_Q: Ints, stop_U: Ints) -> Ints:
        """Return when the state after each event is asked for: by a slate, else the next event.

        Nobody knows when the next event after `stop_U` will be: the last one before it is asked at
        its own time.
        """
        histories = self.histories
        second_Q, end_Q = histories.next_second(event_Q), histories.ends(event_Q)
        is_last_Q = end_Q >= stop_U[histories.user_E[event_Q]]
        second_Q[is_last_Q] = histories.second(event_Q[is_last_Q])
        key_Q = 2 * end_Q
        row_Q = np.searchsorted(self.key_R, key_Q)
        shows_Q = np.append(self.key_R, -1)[row_Q] == key_Q
        second_Q[shows_Q] = self.slates.moment_R[self.row_R[row_Q[shows_Q]]] // 1_000_000
        return second_Q

    def beside(self, windows: Windows) -> tuple[RankingBatch, RankingLabels] | None:
        """Lay the slates beside the windows whose events they follow; None if there are none.

        Neighbouring windows share an event; the slates after it go with the window it ends.
        """
        histories, start_W, stop_W = self.histories, windows.start_W, windows.stop_W
        begins_W = start_W == histories.first_U1[histories.user_E[start_W]]
        low_W = np.where(begins_W, 2 * start_W + 1, 2 * start_W + 4)
        low_W, high_W = (
            np.searchsorted(self.key_R, low_W),
            np.searchsorted(self.key_R, 2 * stop_W, side="right"),
        )
        size_W = np.maximum(high_W - low_W, 0)
        if not size_W.any():
            return None
        slot_BR = np.arange(size_W.max())
        real_BR = slot_BR < size_W[:, None]
        row_BR = np.append(self.row_R, -1)[np.where(real_BR, low_W[:, None] + slot_BR, -1)]
        return lay(self.slates, row_BR, start_W, histories.first_U1, histories.group_E)


def lay(
    slates: Slates, row_BR: Ints, start_B: Ints, first_U1: Ints, group_E: Ints
) -> tuple[RankingBatch, RankingLabels]:
    """Lay requests beside sequences that begin at these events; row -1 is padding.

    u acts at seconds 10 and 20, w at 15.  Two slates of u (at 12 and 25) go beside the sequence
    that begins at event 0; one of w (at 11, before any event) beside the one that begins at 2.

    >>> first_U1, group_E = np.array([0, 2, 3]), np.array([0, 1, 0])
    >>> empty_RMX = np.zeros((3, 2, 1), np.float32)
    >>> slates = Slates(np.array([0, 0, 1]), np.array([12, 25, 11]) * 1_000_000,
    ...                 stop_R=np.array([1, 2, 2]), item_RM=np.array([[1, 2], [3, 0], [1, 0]]),
    ...                 position_RM=np.ones((3, 2), int), feature_RMF=empty_RMX,
    ...                 label_RMT=empty_RMX, weight_RMT=empty_RMX)
    >>> slates.keys(first_U1)  # twice the stop, odd before any event
    array([2, 4, 5])
    >>> asked, _ = lay(slates, np.array([[0, 1], [2, -1]]), np.array([0, 2]), first_U1, group_E)
    >>> asked.sequence_N.tolist(), asked.slot_N.tolist(), asked.second_N.tolist()
    ([0, 0, 1], [0, 1, 0], [12, 25, 11])
    >>> asked.state_N.tolist()  # after the first event, after the second, before any
    [0, 1, -1]
    """
    sequence_N, slot_N = np.nonzero(row_BR >= 0)
    chosen = slates.take(row_BR[sequence_N, slot_N])
    after_N = (chosen.user_R >= 0) & (chosen.stop_R > first_U1[chosen.user_R])
    # Nothing is before a stop at 0, and nothing behind the last event: both have no state.
    begin_N = np.minimum(start_B[sequence_N], len(group_E) - 1)
    state_N = group_E[chosen.stop_R - 1] - group_E[begin_N]
    asked = RankingBatch(
        sequence_N=torch.from_numpy(sequence_N),
        slot_N=torch.from_numpy(slot_N),
        second_N=torch.from_numpy(chosen.moment_R // 1_000_000),
        state_N=torch.from_numpy(np.where(after_N, state_N, -1)),
        item_NM=torch.from_numpy(chosen.item_RM),
        position_NM=torch.from_numpy(chosen.position_RM),
        feature_NMF=torch.from_numpy(chosen.feature_RMF),
    )
    answers = RankingLabels(torch.from_numpy(chosen.label_RMT), torch.from_numpy(chosen.weight_RMT))
    return asked, answers
