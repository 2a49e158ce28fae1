"""What is learnt from, and how one epoch of it is cut into batches.

Legend: E events, U users, T actions, W windows or warm items.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tessera.hstu.histories import Bools, Histories, Ints
from tessera.hstu.model import Batch
from tessera.hstu.params import HstuParams
from tessera.hstu.sequences import Batcher, Targets, Windows
from tessera.hstu.slates import Epoch, Slates


@dataclass(frozen=True, slots=True)
class Lessons:
    """What is learnt from: each user's events up to a stop, and the actions worth predicting."""

    histories: Histories
    stop_U: Ints
    action_T: Ints
    slates: Slates | None = None
    """What the ranking head learns from, sorted by history; None trains none."""
    edge_VV: Tensor | None = None
    """What attention is told of pairs of items, see `edges`; None tells nothing."""

    def is_inside_E(self) -> Bools:
        """Return which events may be learnt from."""
        stop_E = np.repeat(self.stop_U, np.diff(self.histories.first_U1))
        return np.arange(len(stop_E)) < stop_E

    def is_target_E(self) -> Bools:
        """Return which events are to be predicted."""
        return self.is_inside_E() & np.isin(self.histories.action_E, self.action_T)

    def warm_W(self) -> Tensor:
        """Return the sorted rows of the items in the lessons; all targets are among them."""
        return torch.from_numpy(np.unique(self.histories.item_E[self.is_inside_E()]))


class Teacher:
    """Turns the windows of one epoch into batches, targets and slates."""

    def __init__(self, lessons: Lessons, params: HstuParams, rng: np.random.Generator) -> None:
        histories, slates = lessons.histories, lessons.slates
        self._histories, self._is_target_E = histories, lessons.is_target_E()
        self._epoch = Epoch.draw(slates, histories, params.slate_share, rng) if slates else None
        asked_second_E = self._epoch.asked_second_E if self._epoch else None
        self._batcher = Batcher(histories, asked_second_E)

    def ask(self, windows: Windows) -> Windows:
        """Ask for the last state of each window at the time of the slate after it."""
        if self._epoch is None:
            return windows
        return replace(windows, request_W=self._epoch.asked_second_E[windows.stop_W - 1])

    def lesson(self, windows: Windows) -> tuple[Batch, Targets]:
        """Return one batch."""
        targets = self._batcher.targets(windows, self._is_target_E)
        beside = self._epoch.beside(windows, self._histories) if self._epoch else None
        if beside is not None:
            targets = replace(targets, asked=beside[0], answers=beside[1])
        return self._batcher.batch(windows), targets
