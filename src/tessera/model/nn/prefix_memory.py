"""An item as its own vector, its codewords, and what is remembered of the prefixes of its code.

PrefixMem (arXiv 2606.00324): a sum of codewords says the same of codeword 3 at the second level
whatever stands at the first.  Here every run of codewords that ends at a level has rows in small
tables of its own, found by hashing; several hashes tell apart what falls together in one of them.
What they hold is projected and *added* to the codeword.  Prefixes need a level above: with one
level there are none, and with two only the whole code.

Worked example: code (2, 3, 1) has the runs 2-3 (ends at the second level), 3-1 and 2-3-1 (end at
the third).  With 4 hashes 12 rows are looked up, each in a table of its own.

Legend: V items with padding first, D width, C code levels, G runs of an item, H hashes, R rows of a
table, E width of a row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tessera.model.nn.codewords import Codewords, CodewordSettings

_INIT_STD = 0.02
_PRIME = 2**31 - 1
"""Hashes are linear modulo this prime (Carter and Wegman 1979), so products stay below 2^62."""
_SEED = 2606


@dataclass(frozen=True, slots=True)
class PrefixSettings:
    """Codewords and remembered prefixes as an item input."""

    sizes: tuple[int, ...]
    """Codewords of each level, the row for `no code` included."""
    id_dropout: float
    """Share of items that a step sees by their codes alone."""
    rows: int
    """Of each table."""
    hashes: int = 4
    """Tables of each run."""
    row_width: int = 8

    def build(self, width: int) -> PrefixMemory:
        """Return the module."""
        return PrefixMemory(width, self)


class PrefixMemory(Codewords):
    """Codewords, and tables of prefixes beside them; it begins as the codewords alone."""

    multiplier_GH: Tensor
    offset_GH: Tensor

    def __init__(self, width: int, settings: PrefixSettings) -> None:
        super().__init__(width, CodewordSettings(settings.sizes, settings.id_dropout))
        self._runs = runs_of(len(settings.sizes))
        self._rows = settings.rows
        tables = len(self._runs), settings.hashes
        rng = np.random.default_rng(_SEED)
        for name in ("multiplier_GH", "offset_GH"):
            drawn_GH = torch.from_numpy(rng.integers(1, _PRIME, tables))
            self.register_buffer(name, drawn_GH, persistent=False)
        memory = torch.empty(*tables, settings.rows, settings.row_width).normal_(0, _INIT_STD)
        self.memory_GHRE = nn.Parameter(memory)
        held = tables[0] * tables[1] * settings.row_width
        self.projection_ND = nn.Parameter(torch.zeros(held, width))

    def forward(self, item_VD: Tensor, codes_VC: Tensor, warm_V: Tensor) -> Tensor:
        """Return item_VD: what `Codewords` says, plus what is remembered of its prefixes."""
        item_VD = super().forward(item_VD, codes_VC, warm_V)
        if not self._runs:
            return item_VD
        row_VGH = self.rows(codes_VC)
        run_G1 = torch.arange(len(self._runs), device=row_VGH.device)[:, None]
        hash_H = torch.arange(row_VGH.shape[2], device=row_VGH.device)
        held_VGHE = self.memory_GHRE[run_G1, hash_H, row_VGH]
        # A run with `no code` in it is none.
        real_VG = torch.stack([codes_VC[:, one].bool().all(1) for one in self._runs], 1)
        held_VGHE = held_VGHE * real_VG[:, :, None, None].to(held_VGHE.dtype)
        return item_VD + held_VGHE.flatten(1) @ self.projection_ND

    def rows(self, codes_VC: Tensor) -> Tensor:
        """Return row_VGH, where each hash puts each run of each code."""
        key_VG = torch.stack([self._keys(codes_VC[:, one]) for one in self._runs], 1)
        hashed_VGH = key_VG[:, :, None] * self.multiplier_GH + self.offset_GH
        return hashed_VGH % _PRIME % self._rows

    def _keys(self, codes_VN: Tensor) -> Tensor:
        """Return a number below the prime for each run: its codewords as the digits of it."""
        key_V = torch.zeros_like(codes_VN[:, 0])
        for code_V in codes_VN.T:
            key_V = (key_V * _DIGIT + code_V + 1) % _PRIME
        return key_V


_DIGIT = 1_000_003
"""Base of the digits: a prime above any number of codewords of a level."""


def runs_of(levels: int) -> tuple[slice, ...]:
    """Return the runs of at least two codewords, by the level that they end at.

    >>> runs_of(3)
    (slice(0, 2, None), slice(1, 3, None), slice(0, 3, None))
    """
    return tuple(
        slice(first, stop) for stop in range(2, levels + 1) for first in range(stop - 2, -1, -1)
    )
