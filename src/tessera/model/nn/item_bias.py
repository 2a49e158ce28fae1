"""A closed form that says the same to all investors: one number for each item.

Legend: B sequences, V items with padding first.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

EVERY = slice(None)
"""Which items a part is told of: all of them."""


class ItemBias(nn.Module):
    """What each item is worth to anybody."""

    worth_V: Tensor

    def __init__(self, items: int) -> None:
        super().__init__()
        self.register_buffer("worth_V", torch.zeros(items))

    def set(self, worth_V: NDArray[np.float64]) -> None:
        """Take these numbers; padding is worth nothing."""
        self.worth_V.copy_(torch.from_numpy(worth_V))
        self.worth_V[0] = 0.0

    def investor(self, had_BN: Tensor, _: Tensor | slice = EVERY) -> Tensor:
        """Return 1: the same for all."""
        return had_BN.new_ones(len(had_BN), 1)

    def item(self) -> Tensor:
        """Return what each item is worth."""
        return self.worth_V[:, None]
