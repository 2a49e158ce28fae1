"""What is learnt from, and how one epoch of it is cut into batches.

Legend: U users, Q events asked about, T actions, W windows or warm items.
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
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.slates import Epoch, Slates
from tessera.model.sequences.windows import Batcher, Targets, Windows, training_windows


@dataclass(frozen=True, slots=True)
class Examples:
    """What is learnt from: each user's events up to a stop, and the actions worth predicting."""

    histories: Histories
    stop_U: Ints
    action_T: Ints
    slates: Slates | None = None
    """What the ranking head learns from, sorted by history; None trains none."""
    edge_VV: Tensor | None = None
    """What attention is told of pairs of items, see `edges`; None tells nothing."""

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
        """Cover what may be learnt from with windows."""
        return training_windows(self.histories, self.stop_U, length, rng)

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
            *(() if self.edge_VV is None else (self.edge_VV.cpu().numpy(),)),
        )

    def warm_W(self) -> Tensor:
        """Return the sorted rows of the items in the examples; all targets are among them."""
        item_E, warm_W = self.histories.item_E, np.zeros(0, np.int64)
        for event_Q in self.histories.parts():
            warm_W = np.union1d(warm_W, item_E[event_Q[self.is_inside(event_Q)]])
        return torch.from_numpy(warm_W)


class BatchBuilder:
    """Turns the windows of one epoch into batches, targets and slates."""

    def __init__(self, examples: Examples, slate_share: float, rng: np.random.Generator) -> None:
        """Show one of the slates of such a share of the stretches between events."""
        histories, slates = examples.histories, examples.slates
        self._is_target = examples.is_target
        self._stop_U = examples.stop_U
        self._epoch = Epoch.draw(slates, histories, slate_share, rng) if slates else None
        self._batcher = Batcher(histories, self._asked_second if self._epoch else None)

    def ask(self, windows: Windows) -> Windows:
        """Ask for the last state of each window at the time of the slate after it."""
        if self._epoch is None:
            return windows
        return replace(windows, request_W=self._asked_second(windows.stop_W - 1))

    def lesson(self, windows: Windows) -> tuple[Batch, Targets]:
        """Return one batch."""
        targets = self._batcher.targets(windows, self._is_target)
        beside = self._epoch.beside(windows) if self._epoch else None
        if beside is not None:
            targets = replace(targets, asked=beside[0], answers=beside[1])
        return self._batcher.batch(windows), targets

    def _asked_second(self, event_Q: Ints) -> Ints:
        assert self._epoch is not None
        return self._epoch.asked_second(event_Q, self._stop_U)
