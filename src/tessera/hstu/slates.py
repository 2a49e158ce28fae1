"""Logged slates as training rows: what was shown, what came of it, and from which history.

One request of each stretch between two events is drawn an epoch, and the state before it is asked
for at the request's time: asked at the next event's time, it would know when the next event comes,
which for a click is the answer.

Legend: R requests, M positions of a slate, F features, T tasks, E events, W windows, B sequences.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tessera.hstu.histories import Bools, Histories, Ints
from tessera.hstu.ranking import Answers, Asked
from tessera.hstu.sequences import Windows

Floats32 = NDArray[np.float32]


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
    feature_RMF: Floats32
    label_RMT: Floats32
    weight_RMT: Floats32
    """0 where the answer is not known."""

    def __len__(self) -> int:
        return len(self.user_R)

    def take(self, rows: NDArray[np.intp] | Bools) -> Slates:
        """Return the chosen requests."""
        return Slates(*(array[rows] for array in self.arrays()))

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Return every array, in order."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def shown_features(self) -> torch.Tensor:
        """Return feature_SF of the rows that are no padding."""
        return torch.from_numpy(self.feature_RMF[self.item_RM > 0])

    def keys(self, first_U1: Ints) -> Ints:
        """Return a number that sorts requests by history; one before any event is odd."""
        key_R: Ints = self.stop_R * 2 + (self.stop_R == first_U1[self.user_R])
        return key_R

    def by_history(self, histories: Histories) -> Slates:
        """Keep the requests of users with events, sorted by the history before them."""
        known = self.take(self.user_R >= 0)
        key_R = known.keys(histories.first_U1)
        return known.take(np.lexsort((known.moment_R, key_R)))


def concatenate(*parts: Slates) -> Slates:
    """Put slates behind each other."""
    return Slates(
        *(np.concatenate(arrays) for arrays in zip(*(p.arrays() for p in parts), strict=True))
    )


@dataclass(frozen=True, slots=True)
class Epoch:
    """The slates of one epoch, at most one in each stretch between two events."""

    slates: Slates
    key_R: Ints
    asked_second_E: Ints
    """When the state after each event is asked for."""

    @classmethod
    def draw(
        cls, slates: Slates, histories: Histories, share: float, rng: np.random.Generator
    ) -> Epoch:
        """Draw them from slates sorted by history."""
        order_R = rng.permutation(len(slates))
        key_R = slates.keys(histories.first_U1)
        _, first = np.unique(key_R[order_R], return_index=True)
        chosen = order_R[first]
        chosen = chosen[rng.random(len(chosen)) < share]
        drawn, key_R = slates.take(chosen), key_R[chosen]
        after_R = key_R % 2 == 0
        start_S, set_E = histories.sets()
        second_S = histories.next_second_E[start_S]
        second_S[set_E[drawn.stop_R[after_R] - 1]] = drawn.moment_R[after_R] // 1_000_000
        return cls(drawn, key_R, second_S[set_E])

    def beside(self, windows: Windows, histories: Histories) -> tuple[Asked, Answers] | None:
        """Lay the slates beside the windows whose events they follow; None if there are none.

        Neighbouring windows share an event; the slates after it go with the window it ends.
        """
        start_W, stop_W = windows.start_W, windows.stop_W
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
        return lay(self.slates, np.where(real_BR, low_W[:, None] + slot_BR, -1), start_W, histories)


def lay(slates: Slates, row_BR: Ints, start_B: Ints, histories: Histories) -> tuple[Asked, Answers]:
    """Lay requests beside sequences that begin at these events; row -1 is padding."""
    sequence_N, slot_N = np.nonzero(row_BR >= 0)
    chosen = slates.take(row_BR[sequence_N, slot_N])
    after_N = (chosen.user_R >= 0) & (chosen.stop_R > histories.first_U1[chosen.user_R])
    group_E = np.append(histories.group_E, 0)
    state_N = group_E[chosen.stop_R - 1] - group_E[start_B[sequence_N]]
    asked = Asked(
        sequence_N=torch.from_numpy(sequence_N),
        slot_N=torch.from_numpy(slot_N),
        second_N=torch.from_numpy(chosen.moment_R // 1_000_000),
        state_N=torch.from_numpy(np.where(after_N, state_N, -1)),
        item_NM=torch.from_numpy(chosen.item_RM),
        position_NM=torch.from_numpy(chosen.position_RM),
        feature_NMF=torch.from_numpy(chosen.feature_RMF),
    )
    answers = Answers(torch.from_numpy(chosen.label_RMT), torch.from_numpy(chosen.weight_RMT))
    return asked, answers
