"""A linked item for each item of a batch, drawn anew at every step.

Legend: N items, B batch, E edges.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor


class Partners:
    """Items that edges lead to; false if there are no edges.

    Only edges of a weight above 0 lead anywhere.
    """

    def __init__(self, linked_NN: sparse.csr_array) -> None:
        linked_NN = linked_NN.copy()
        linked_NN.data = np.where(linked_NN.data > 0, linked_NN.data, 0.0)
        linked_NN.eliminate_zeros()
        total_N = np.r_[linked_NN.sum(axis=1), 0.0]
        row_E = np.repeat(np.arange(linked_NN.shape[0]), np.diff(linked_NN.indptr))
        share_E = linked_NN.data / total_N[row_E]
        self._edges = len(share_E)
        self._has_N = torch.from_numpy(np.diff(linked_NN.indptr) > 0)
        self._item = torch.from_numpy(linked_NN.indices.astype(np.int64))
        self._last_N = torch.from_numpy(linked_NN.indptr[1:].astype(np.int64) - 1)
        # Row and share as one ascending number: one search draws for a whole batch.
        before_E = np.cumsum(share_E) - np.cumsum(np.r_[0.0, total_N[:-1] > 0])[row_E]
        self._until_E = torch.from_numpy(row_E + np.minimum(before_E, 1.0))

    def __bool__(self) -> bool:
        return self._edges > 0

    def draw(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Places in the batch that have a partner, and the partner of each, by edge weight."""
        with_B = torch.nonzero(self._has_N[rows]).flatten()
        own_B = rows[with_B]
        at_B = torch.searchsorted(self._until_E, own_B + torch.rand(len(own_B)).double())
        return with_B, self._item[torch.minimum(at_B, self._last_N[own_B])]
