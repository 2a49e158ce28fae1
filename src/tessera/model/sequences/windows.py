"""Windows over the histories and the padded batches that the model eats.

Legend: W windows, B sequences of a batch, L positions, E events, N targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tessera.contracts.arrays import Bools, Ints
from tessera.model.nn.batch import Batch
from tessera.model.nn.ranking import RankingBatch, RankingLabels
from tessera.model.sequences.histories import Histories


@dataclass(frozen=True, slots=True)
class Windows:
    """Stretches of events, each with the second at which its last state is asked for."""

    start_W: Ints
    stop_W: Ints
    request_W: Ints

    def __len__(self) -> int:
        return len(self.start_W)

    def take(self, rows: NDArray[np.intp]) -> Windows:
        """Return the chosen windows."""
        return Windows(self.start_W[rows], self.stop_W[rows], self.request_W[rows])


@dataclass(frozen=True, slots=True)
class Targets:
    """What a training batch must predict, and from which state."""

    sequence_N: Tensor
    """Row of the batch."""
    state_N: Tensor
    """Distinct time after which it is predicted; -1 is the state of an empty history."""
    item_N: Tensor
    """Row in the item table."""
    asked: RankingBatch | None = None
    """Slates beside the sequences, for the ranking head."""
    answers: RankingLabels | None = None


def last_windows(first_U: Ints, stop_U: Ints, request_U: Ints, length: int) -> Windows:
    """Return for each stretch its most recent events, at most `length`."""
    return Windows(np.maximum(first_U, stop_U - length), stop_U, request_U)


def training_windows(
    histories: Histories, stop_U: Ints, length: int, rng: np.random.Generator
) -> Windows:
    """Cover each user's events with windows; long histories are cut at random places.

    Neighbours share one event, so that (without ties) every event is a target exactly once.
    """
    first_U = histories.first_U1[:-1]
    events_U = stop_U - first_U
    shift_U = np.zeros_like(events_U)
    known_U = np.flatnonzero(events_U > 0)  # whoever comes later moves no draw
    shift_U[known_U] = rng.integers(0, length // 2 + 1, len(known_U))
    shift_U[events_U <= length] = 0
    stride = length - 1
    more_U = -(-(events_U + shift_U - length) // stride)
    count_U = np.where(events_U > 0, 1 + np.maximum(more_U, 0), 0)
    user_W = np.repeat(np.arange(len(events_U)), count_U)
    back_W = np.arange(len(user_W)) - np.repeat(np.cumsum(count_U) - count_U, count_U)
    end_W = stop_U[user_W] + shift_U[user_W] - back_W * stride
    start_W = np.maximum(first_U[user_W], end_W - length)
    stop_W = np.minimum(stop_U[user_W], end_W)
    return Windows(start_W, stop_W, histories.second(stop_W - 1))


def by_length(windows: Windows, batch: int) -> Iterator[NDArray[np.intp]]:
    """Yield the rows of each batch, shortest windows first, so that little is padding."""
    order_W = np.argsort(windows.stop_W - windows.start_W, kind="stable")
    for start in range(0, len(order_W), batch):
        yield order_W[start : start + batch]


def shuffled_batches(
    windows: Windows, batch: int, rng: np.random.Generator
) -> list[NDArray[np.intp]]:
    """Return random batches of windows of similar length, in random order."""
    order_W = rng.permutation(len(windows))
    batches = [order_W[rows] for rows in by_length(windows.take(order_W), batch)]
    return [batches[index] for index in rng.permutation(len(batches))]


class Batcher:
    """Cuts batches out of one set of histories."""

    def __init__(
        self, histories: Histories, asked_second: Callable[[Ints], Ints] | None = None
    ) -> None:
        """Let the state after each event answer `asked_second`, by default the next event."""
        self._histories = histories
        self._asked_second = asked_second or histories.next_second

    def batch(self, windows: Windows) -> Batch:
        """Pad the windows to the longest of them; an empty window is all padding."""
        histories = self._histories
        at_BL, real_BL = self._positions(windows)
        last_B1 = histories.group_E[np.maximum(windows.stop_W - 1, 0)][:, None]
        group_BL = histories.group_E[at_BL]
        # The last state answers the request; the states before it answer their next event.
        request_BL = np.where(
            group_BL == last_B1, windows.request_W[:, None], self._asked_second(at_BL)
        )
        relative_BL = group_BL - group_BL[:, :1]
        return Batch(
            item_BL=torch.from_numpy(np.where(real_BL, histories.item_E[at_BL], 0)),
            action_BL=torch.from_numpy(histories.action_E[at_BL]),
            second_BL=torch.from_numpy(histories.second(at_BL)),
            request_BL=torch.from_numpy(request_BL),
            group_BL=torch.from_numpy(np.where(real_BL, relative_BL, at_BL.shape[1])),
        )

    def targets(self, windows: Windows, is_target: Callable[[Ints], Bools]) -> Targets:
        """Return the targets inside the windows that have a state before them.

        `is_target` says of events whether they are to be predicted.
        """
        histories = self._histories
        at_BL, real_BL = self._positions(windows)
        state_BL = histories.group_E[at_BL] - histories.group_E[at_BL[:, :1]] - 1
        first_B1 = histories.first_U1[histories.user_E[at_BL[:, :1]]]
        from_start_B1 = (first_B1 == windows.start_W[:, None]) & real_BL[:, :1]
        asked_BL = real_BL & is_target(at_BL) & ((state_BL >= 0) | from_start_B1)
        sequence_N, position_N = np.nonzero(asked_BL)
        return Targets(
            torch.from_numpy(sequence_N),
            torch.from_numpy(state_BL[sequence_N, position_N]),
            torch.from_numpy(histories.item_E[at_BL[sequence_N, position_N]]),
        )

    def _positions(self, windows: Windows) -> tuple[Ints, Bools]:
        size_B1 = (windows.stop_W - windows.start_W)[:, None]
        step_1L = np.arange(max(1, int(size_B1.max(initial=0))))[None]
        real_BL = step_1L < size_B1
        at_BL = np.where(real_BL, windows.start_W[:, None] + step_1L, windows.start_W[:, None])
        # An empty window may start behind the last event.
        return np.minimum(at_BL, max(0, len(self._histories.item_E) - 1)), real_BL
