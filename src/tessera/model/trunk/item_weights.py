"""Item weights beside the trunk: what goes together.

The trunk compresses what goes together into its width and learns it by gradient; closed-form
weights between items (`features.conditional`) know the rare pairs better.  Factorised, they are an
inner product like the trunk's own.

Legend: B sequences, V items with padding first, I items with weights, N acquisitions, R width of
the factors.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from tessera.model.nn.item_bias import EVERY
from tessera.shared.features.conditional import conditional_weights
from tessera.shared.features.demand import Acquired

_MOST_ITEMS = 5000
"""Only the most frequent items get weights: the matrix is dense."""
_ROUNDS = 4
_SEED = 0


class ItemWeights(nn.Module):
    """Factors of the weights between items."""

    from_VR: Tensor
    to_VR: Tensor

    def __init__(self, items: int, width: int) -> None:
        super().__init__()
        self.register_buffer("from_VR", torch.zeros(items, width))
        self.register_buffer("to_VR", torch.zeros(items, width))

    def learn(self, acquired: Acquired, l2: float) -> None:
        """Take the weights between the acquired items; none without any."""
        count_V = np.bincount(acquired.item_N, minlength=len(self.from_VR))
        head_I = np.sort(np.argsort(-count_V, kind="stable")[:_MOST_ITEMS])
        head_I = head_I[count_V[head_I] > 0]
        size = (int(acquired.user_N.max(initial=-1)) + 1, len(self.from_VR))
        ones_N = np.ones(len(acquired.item_N))
        had_UV = csr_matrix((ones_N, (acquired.user_N, acquired.item_N)), shape=size)
        weight_II = torch.from_numpy(conditional_weights(had_UV[:, head_I], l2)).float()
        width = min(self.from_VR.shape[1], len(head_I))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            left_IR, size_R, right_IR = torch.svd_lowrank(weight_II, width, niter=_ROUNDS)
        rows = torch.from_numpy(head_I).to(self.from_VR.device)
        for table_VR, factor_IR in ((self.from_VR, left_IR), (self.to_VR, right_IR)):
            table_VR.zero_()
            table_VR[rows, :width] = (factor_IR * size_R.sqrt()).to(table_VR.device)

    def investor(self, had_BN: Tensor, item_N: Tensor | slice = EVERY) -> Tensor:
        """Return what the items an investor had say, in the space of the factors."""
        return had_BN @ self.from_VR[item_N]

    def item(self) -> Tensor:
        """Return the factors of the items that are said something about."""
        return self.to_VR
