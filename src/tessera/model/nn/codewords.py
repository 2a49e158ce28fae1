"""An item as the sum of its own vector and of the vectors of its semantic codes.

Legend: V items with padding first, D width, C code levels, K codewords of a level.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

_INIT_STD = 0.02


@dataclass(frozen=True, slots=True)
class CodewordSettings:
    """The sum of codewords as an item input."""

    sizes: tuple[int, ...]
    """Codewords of each level, the row for `no code` included; empty without codes."""
    id_dropout: float
    """Share of items that a step sees by their codes alone."""

    def build(self, width: int) -> Codewords:
        """Return the module."""
        return Codewords(width, self)


class Codewords(nn.Module):
    """A table of codewords for each level, by the number of the level."""

    def __init__(self, width: int, settings: CodewordSettings) -> None:
        super().__init__()
        self.id_dropout = settings.id_dropout
        self._levels = len(settings.sizes)
        for level, size in enumerate(settings.sizes):
            table_KD = torch.empty(size, width).normal_(0, _INIT_STD)
            self.register_parameter(str(level), nn.Parameter(table_KD))

    def forward(self, item_VD: Tensor, codes_VC: Tensor, warm_V: Tensor) -> Tensor:
        """Return item_VD: own part plus the codewords; an unseen item has only codewords."""
        tables = self.codebook()
        if not tables:
            return item_VD
        item_VD = item_VD * self.kept(warm_V)[:, None]
        for level, codeword_KD in enumerate(tables):
            item_VD = item_VD + codeword_KD[codes_VC[:, level]]
        return item_VD

    def kept(self, warm_V: Tensor) -> Tensor:
        """Return keep_V: 0 where an item is seen by its codes alone, else 1."""
        keep_V = warm_V.float()
        if self.training and self.id_dropout:
            keep_V = keep_V * (torch.rand_like(keep_V) >= self.id_dropout)
        return keep_V

    def codebook(self) -> tuple[nn.Parameter, ...]:
        """Return the table of each level."""
        return tuple(self.get_parameter(str(level)) for level in range(self._levels))
