"""What each position of a batch may look at, cut into tiles of rows and columns.

Legend: B sequences, L positions, S sequences, R rows and C columns of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

TIME_BUCKETS = 129
_BUCKET_WIDTH = 0.301
_TILE_ROWS = 50
_TILE_CELLS = 160_000
"""Scores in a tile: three float32 copies of it fit the second-level caches of two cores."""
_GPU_TILE_CELLS = 1 << 24
"""A GPU wants all rows in few tiles, each as large as memory for some float32 copies allows."""


def time_bucket(gap_s: Tensor) -> Tensor:
    """Bucket of a gap in whole seconds: floor(ln(max(1, |gap|)) / 0.301), at most 128."""
    log_gap = gap_s.float().abs_().clamp_(min=1).log_()
    return log_gap.div_(_BUCKET_WIDTH).clamp_(max=TIME_BUCKETS - 1).long()


def seen_cells(length: int, window: int | None = None) -> int:
    """Return how many scores the tiles of one full sequence without ties hold."""
    cells = 0
    for row in range(0, length, _TILE_ROWS):
        stop = min(row + _TILE_ROWS, length)
        cells += (stop - row) * (stop - _oldest(row, window))
    return cells


def _oldest(row: int, window: int | None) -> int:
    """Return the first column that a row sees where no events share a time."""
    return 0 if window is None else max(0, row - window + 1)


@dataclass(frozen=True, slots=True)
class Tile:
    """Some rows of some sequences, and the columns that at least one of them may see."""

    of: slice
    rows: slice
    columns: slice
    bucket_SRC: Tensor
    """Time bucket between the row's request and the column's event, in one byte."""
    steps_SRC: Tensor | None
    """Distinct times between row and column; None where that is row minus column everywhere."""
    extra_SRC: Tensor | None


@dataclass(frozen=True)
class View:
    """What each position may look at, and from how far; the same for all layers."""

    group_BL: Tensor
    """Distinct times before the event; L or more at padding, which follows the events."""
    second_BL: Tensor
    """When the event happened."""
    request_BL: Tensor
    """When the row's state is asked for."""
    real_BL1: Tensor
    """1 at events, 0 at padding."""
    window: int | None = None
    """Distinct times that a row sees, its own included; None sees all."""
    extra_BLL: Tensor | None = None
    """A further number for each pair, such as the weight of an edge between the items."""

    @cached_property
    def has_ties(self) -> bool:
        """Whether some events share a time, so that a position is not its distance."""
        order_L = torch.arange(self.group_BL.shape[1], device=self.group_BL.device)
        return bool(((self.group_BL != order_L) & (self.real_BL1[:, :, 0] > 0)).any())

    @cached_property
    def mask_BLL(self) -> Tensor:
        """True where the row may see the column."""
        steps_BLL = self.group_BL[:, :, None] - self.group_BL[:, None, :]
        mask_BLL = steps_BLL >= 0
        return mask_BLL if self.window is None else mask_BLL & (steps_BLL < self.window)

    @cached_property
    def distance_LL(self) -> Tensor:
        """Row minus column, 0 where the column comes later."""
        order_L = torch.arange(self.group_BL.shape[1], device=self.group_BL.device)
        return (order_L[:, None] - order_L).clamp_(min=0)

    @cached_property
    def tiles(self) -> list[Tile]:
        """All tiles; together they cover every pair that is seen."""
        batch, length = self.group_BL.shape
        is_cpu = self.group_BL.device.type == "cpu"
        rows = min(length, _TILE_ROWS) if is_cpu else length
        sequences = max(1, (_TILE_CELLS if is_cpu else _GPU_TILE_CELLS) // (rows * length))
        return [
            self._tile(slice(first, first + sequences), slice(row, min(row + rows, length)))
            for first in range(0, batch, sequences)
            for row in range(0, length, rows)
        ]

    def _tile(self, of: slice, rows: slice) -> Tile:
        columns = self._columns(of, rows)
        gap_SRC = self.request_BL[of, rows, None] - self.second_BL[of, None, columns]
        steps_SRC = None
        if self.has_ties:
            steps_SRC = self.group_BL[of, rows, None] - self.group_BL[of, None, columns]
            steps_SRC = steps_SRC.clamp(max=self.group_BL.shape[1] - 1).to(torch.int16)
        extra = self.extra_BLL
        return Tile(
            of,
            rows,
            columns,
            time_bucket(gap_SRC).to(torch.uint8),
            steps_SRC,
            None if extra is None else extra[of, rows, columns],
        )

    def _columns(self, of: slice, rows: slice) -> slice:
        if not self.has_ties:
            return slice(_oldest(rows.start, self.window), rows.stop)
        seen_C = self.group_BL[of] <= self.group_BL[of, rows.stop - 1, None]
        if self.window is not None:
            oldest_S1 = self.group_BL[of, rows.start, None] - self.window
            seen_C = seen_C & (self.group_BL[of] > oldest_S1)
        column_N = torch.nonzero(seen_C.any(0))[:, 0]
        return slice(int(column_N[0]), int(column_N[-1]) + 1)
