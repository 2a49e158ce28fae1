"""What is learnt from, and how one epoch of it is cut into batches.

Legend: U users, Q events asked about, T actions, W windows or warm items, B sequences of a batch,
L positions, N targets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tessera.contracts.arrays import Bools, Ints
from tessera.model.nn.batch import Batch
from tessera.model.nn.ranking import RankingBatch, RankingLabels
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.slates import Epoch, Slates
from tessera.model.sequences.windows import Batcher, Windows


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


@dataclass(frozen=True, slots=True)
class Examples:
    """What is learnt from: each user's events up to a stop, and the actions worth predicting."""

    histories: Histories
    stop_U: Ints
    action_T: Ints
    slates: Slates | None = None
    """What the ranking head learns from, sorted by history; None trains none."""

    def is_inside(self, event_Q: Ints) -> Bools:
        """Return which of these events may be learnt from."""
        return np.asarray(event_Q < self.stop_U[self.histories.user_E[event_Q]])

    def is_target(self, event_Q: Ints) -> Bools:
        """Return which of these events are to be predicted."""
        is_wanted_Q = np.isin(self.histories.action_E[event_Q], self.action_T)
        return self.is_inside(event_Q) & is_wanted_Q

    def any_target(self) -> bool:
        """Return whether there is anything to predict."""
        return any(self.is_target(event_Q).any() for event_Q in self.histories.parts())

    def windows(self, length: int, rng: np.random.Generator) -> Windows:
        """Cover each user's events with windows; long histories are cut at random places.

        Neighbours share one event, so that (without ties) every event is a target exactly once.
        """
        first_U = self.histories.first_U1[:-1]
        events_U = self.stop_U - first_U
        shift_U = np.zeros_like(events_U)
        known_U = np.flatnonzero(events_U > 0)  # whoever comes later moves no draw
        shift_U[known_U] = rng.integers(0, length // 2 + 1, len(known_U))
        shift_U[events_U <= length] = 0
        stride = length - 1
        more_U = -(-(events_U + shift_U - length) // stride)
        count_U = np.where(events_U > 0, 1 + np.maximum(more_U, 0), 0)
        user_W = np.repeat(np.arange(len(events_U)), count_U)
        back_W = np.arange(len(user_W)) - np.repeat(np.cumsum(count_U) - count_U, count_U)
        end_W = self.stop_U[user_W] + shift_U[user_W] - back_W * stride
        start_W = np.maximum(first_U[user_W], end_W - length)
        stop_W = np.minimum(self.stop_U[user_W], end_W)
        return Windows(start_W, stop_W, self.histories.second(stop_W - 1))

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Return every array that decides what is learnt, in order."""
        histories = self.histories
        return (
            self.stop_U,
            self.action_T,
            histories.item_E,
            histories.action_E,
            histories.moment_E,
            histories.group_E,
            histories.phase_E,
            *(self.slates.arrays() if self.slates else ()),
        )

    def warm_W(self) -> Tensor:
        """Return the sorted rows of the items in the examples; all targets are among them."""
        item_E, warm_W = self.histories.item_E, np.zeros(0, np.int64)
        for event_Q in self.histories.parts():
            warm_W = np.union1d(warm_W, item_E[event_Q[self.is_inside(event_Q)]])
        return torch.from_numpy(warm_W)

    def drawn(self, slate_share: float, rng: np.random.Generator) -> BatchBuilder:
        """Draw the slates of one epoch: one of such a share of the stretches between events."""
        epoch = None
        if self.slates is not None:
            drawn = self.slates.drawn(self.histories.first_U1, slate_share, rng)
            epoch = Epoch(self.slates, self.histories, *drawn)
        return BatchBuilder(self, epoch)


@dataclass(frozen=True, slots=True)
class BatchBuilder:
    """Turns the windows of one epoch into batches, targets and slates."""

    examples: Examples
    epoch: Epoch | None
    """Slates of the epoch; None shows none."""

    def ask(self, windows: Windows) -> Windows:
        """Ask for the last state of each window at the time of the slate after it."""
        if self.epoch is None:
            return windows
        return replace(windows, request_W=self._asked_second(windows.stop_W - 1))

    def lesson(self, windows: Windows) -> tuple[Batch, Targets]:
        """Return one batch."""
        targets = self.targets(windows)
        beside = self.epoch.beside(windows) if self.epoch else None
        if beside is not None:
            targets = replace(targets, asked=beside[0], answers=beside[1])
        return self._batcher().batch(windows), targets

    def targets(self, windows: Windows) -> Targets:
        """Return the targets inside the windows that have a state before them."""
        histories = self.examples.histories
        at_BL, real_BL = self._batcher().positions(windows)
        state_BL = histories.group_E[at_BL] - histories.group_E[at_BL[:, :1]] - 1
        first_B1 = histories.first_U1[histories.user_E[at_BL[:, :1]]]
        from_start_B1 = (first_B1 == windows.start_W[:, None]) & real_BL[:, :1]
        is_target_BL = real_BL & self.examples.is_target(at_BL)
        sequence_N, position_N = np.nonzero(is_target_BL & ((state_BL >= 0) | from_start_B1))
        return Targets(
            torch.from_numpy(sequence_N),
            torch.from_numpy(state_BL[sequence_N, position_N]),
            torch.from_numpy(histories.item_E[at_BL[sequence_N, position_N]]),
        )

    def _batcher(self) -> Batcher:
        return Batcher(self.examples.histories, self._asked_second if self.epoch else None)

    def _asked_second(self, event_Q: Ints) -> Ints:
        assert self.epoch is not None
        return self.epoch.asked_second(event_Q, self.examples.stop_U)
