"""Histories of MovieLens-1M for the speed of HSTU, or made-up ones of like lengths.

Legend: B sequences, L positions, U users.
"""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tessera.model.nn.batch import Batch

_RATINGS = "movielens-1m/ratings_users_1_2999.dat.gz"


@dataclass(frozen=True, slots=True)
class Sequences:
    """Left-aligned, 0 at padding; times in seconds."""

    item_BL: Tensor
    target_BL: Tensor
    second_BL: Tensor
    request_BL: Tensor

    def take(self, rows: Tensor) -> Sequences:
        """Return some sequences, cut to the longest of them."""
        length = int((self.item_BL[rows] > 0).sum(1).max())
        return Sequences(
            self.item_BL[rows, :length],
            self.target_BL[rows, :length],
            self.second_BL[rows, :length],
            self.request_BL[rows, :length],
        )

    def batch(self) -> Batch:
        """Return what the model eats; every event is an action of one kind, without ties."""
        order_L = torch.arange(self.item_BL.shape[1])
        group_BL = torch.where(self.item_BL > 0, order_L, len(order_L))
        blank_BL = torch.zeros_like(self.item_BL)
        return Batch(self.item_BL, blank_BL, self.second_BL, self.request_BL, group_BL)


def sequences(rng: np.random.Generator, count: int, length: int) -> tuple[Sequences, int, str]:
    """Return the last events of some users, the rows of the item table, and the source."""
    folder = os.environ.get("TESSERA_DATA")
    path = Path(folder) / _RATINGS if folder else None
    if path and path.exists():
        histories, items = _movielens(path)
        source = "MovieLens-1M, users 1 to 2999"
    else:
        histories, items = _made_up(rng)
        source = "made-up lengths and times (TESSERA_DATA names no movielens-1m)"
    chosen = rng.choice(len(histories), count, replace=False)
    return _padded([histories[user] for user in chosen], length), items, source


def _movielens(path: Path) -> tuple[list[np.ndarray], int]:
    with gzip.open(path, "rt") as lines:
        rows = np.array([line.split("::") for line in lines], np.int64)
    rows = rows[np.lexsort((rows[:, 3], rows[:, 0]))]
    item = np.unique(rows[:, 1], return_inverse=True)[1] + 1
    _, first_U = np.unique(rows[:, 0], return_index=True)
    histories = np.split(np.stack([item, rows[:, 3]], 1), first_U[1:])
    return histories, int(item.max()) + 1


def _made_up(rng: np.random.Generator) -> tuple[list[np.ndarray], int]:
    items, users = 3_616, 3_000
    size_U = np.clip(rng.lognormal(np.log(96), 1.0, users), 20, 2_000).astype(np.int64)
    return [
        np.stack([rng.integers(1, items, n), rng.lognormal(4, 3, n).cumsum().astype(int)], 1)
        for n in size_U
    ], items


def _padded(histories: list[np.ndarray], length: int) -> Sequences:
    made = torch.zeros(4, len(histories), length, dtype=torch.long)
    for row, history in enumerate(histories):
        last = torch.from_numpy(history[-length - 1 :])
        made[0, row, : len(last) - 1], made[1, row, : len(last) - 1] = last[:-1, 0], last[1:, 0]
        made[2, row, : len(last) - 1], made[3, row, : len(last) - 1] = last[:-1, 1], last[1:, 1]
    return Sequences(*made)
