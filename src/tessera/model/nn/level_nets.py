"""A state, and what a small net of each level adds to it once codewords are chosen.

TIGER: Rajput et al. 2023, arXiv 2305.05065.

Legend: R rows of states, D width, H hidden width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class LevelNetSettings:
    """A net of one hidden layer for each level as a generative head."""

    hidden: int

    def build(self, width: int, levels: int) -> LevelNets:
        """Return the module."""
        return LevelNets(width, levels, self.hidden)


class LevelNets(nn.Module):
    """Before training the state itself, at every level."""

    def __init__(self, width: int, levels: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(2 * width, hidden) for _ in range(levels))
        self.out = nn.ModuleList(_zero(nn.Linear(hidden, width)) for _ in range(levels))

    def forward(self, state_RD: Tensor, prefix_RD: Tensor, level: int) -> Tensor:
        """Return asking_RD, given the state and the sum of the codewords chosen so far."""
        hidden_RH = self.hidden[level](torch.cat([state_RD, prefix_RD], dim=1))
        asking_RD: Tensor = state_RD + self.out[level](functional.silu(hidden_RH))
        return asking_RD


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
