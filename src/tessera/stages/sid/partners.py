"""A linked item for each item of a batch, drawn anew at every step.

Legend: N items, B batch.
"""

from __future__ import annotations

import torch
from scipy import sparse
from torch import Tensor


class Partners:
    """Items that edges lead to; false if there are no edges."""

    def __init__(self, linked_NN: sparse.csr_array) -> None:
        self._start_N = torch.from_numpy(linked_NN.indptr.astype("int64"))
        self._item = torch.from_numpy(linked_NN.indices.astype("int64"))

    def __bool__(self) -> bool:
        return len(self._item) > 0

    def draw(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Places in the batch that have a partner, and the partner of each, all alike likely."""
        first_B, degree_B = self._start_N[rows], self._start_N[rows + 1] - self._start_N[rows]
        step_B = (torch.rand(len(rows)) * degree_B).long()
        with_B = torch.nonzero(degree_B > 0).flatten()
        return with_B, self._item[(first_B + step_B)[with_B]]
