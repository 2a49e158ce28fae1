"""Windows over the histories and the padded batches that the model eats.

Legend: W windows, B sequences of a batch, L positions, E events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tessera.contracts.arrays import Bools, Ints
from tessera.model.nn.batch import Batch
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


def last_windows(first_U: Ints, stop_U: Ints, request_U: Ints, length: int) -> Windows:
    """Return for each stretch its most recent events, at most `length`."""
    return Windows(np.maximum(first_U, stop_U - length), stop_U, request_U)


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


@dataclass(frozen=True, slots=True)
class Batcher:
    """Cuts batches out of one set of histories."""

    histories: Histories
    asked_second: Callable[[Ints], Ints] | None = None
    """When the state after each event is asked for; None is at the next event."""

    def batch(self, windows: Windows) -> Batch:
        """Pad the windows to the longest of them; an empty window is all padding."""
        histories = self.histories
        at_BL, real_BL = self.positions(windows)
        last_B1 = histories.group_E[np.maximum(windows.stop_W - 1, 0)][:, None]
        group_BL = histories.group_E[at_BL]
        # The last state answers the request; the states before it answer their next event.
        asked_second = self.asked_second or histories.next_second
        request_BL = np.where(group_BL == last_B1, windows.request_W[:, None], asked_second(at_BL))
        relative_BL = group_BL - group_BL[:, :1]
        return Batch(
            item_BL=torch.from_numpy(np.where(real_BL, histories.item_E[at_BL], 0)),
            action_BL=torch.from_numpy(histories.action_E[at_BL]),
            second_BL=torch.from_numpy(histories.second(at_BL)),
            request_BL=torch.from_numpy(request_BL),
            group_BL=torch.from_numpy(np.where(real_BL, relative_BL, at_BL.shape[1])),
        )

    def positions(self, windows: Windows) -> tuple[Ints, Bools]:
        """Return the events of each window, and which of them are no padding."""
        size_B1 = (windows.stop_W - windows.start_W)[:, None]
        step_1L = np.arange(max(1, int(size_B1.max(initial=0))))[None]
        real_BL = step_1L < size_B1
        at_BL = np.where(real_BL, windows.start_W[:, None] + step_1L, windows.start_W[:, None])
        # An empty window may start behind the last event.
        return np.minimum(at_BL, max(0, len(self.histories.item_E) - 1)), real_BL
