"""Item weights beside the trunk: what goes together becomes one more part of each vector.

The trunk compresses what goes together into its width and learns it by gradient; closed-form
weights between items (`features.conditional`) know the rare pairs better.  Both are inner products
once the weights are factorised, so their sum is one too: item and investor get longer unit vectors
and whatever searches them stays as it is.  How much the weights count is decided on the validation
period; 0 leaves the trunk's vectors as they are.

Legend: B sequences, L positions, U users, E events, N events that count, V items with padding
first, I items with weights, D width of the trunk, R width of the factors, A actions, T actions that
count.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional

from tessera.contracts.tables import ACTIONS
from tessera.features.conditional import conditional_weights
from tessera.hstu.histories import Histories, Ints

MIXES = (0.0, 0.05, 0.15, 0.5, 1.5)
"""What the weights may count, beside a cosine."""
_MOST_ITEMS = 5000
"""Only the most frequent items get weights: the matrix is dense."""
_ROUNDS = 4
_SEED = 0


class ItemWeights(nn.Module):
    """Factors of the weights between items, and how much they count."""

    from_VR: Tensor
    to_VR: Tensor
    liked_A: Tensor
    mix: Tensor

    def __init__(self, items: int, width: int) -> None:
        super().__init__()
        self.register_buffer("from_VR", torch.zeros(items, width))
        self.register_buffer("to_VR", torch.zeros(items, width))
        self.register_buffer("liked_A", torch.zeros(len(ACTIONS), dtype=torch.bool))
        self.register_buffer("mix", torch.zeros(()))

    def learn(self, histories: Histories, stop_U: Ints, action_T: Ints, l2: float) -> None:
        """Take the weights between the items of these actions before `stop_U`; none without any."""
        self.liked_A.zero_()
        device = self.from_VR.device
        self.liked_A[torch.from_numpy(action_T).to(device)] = True
        user_E = histories.user_E
        is_had_E = np.arange(len(user_E)) < stop_U[user_E]
        is_had_E &= np.isin(histories.action_E, action_T)
        item_N, user_N = histories.item_E[is_had_E], user_E[is_had_E]
        count_V = np.bincount(item_N, minlength=len(self.from_VR))
        head_I = np.sort(np.argsort(-count_V, kind="stable")[:_MOST_ITEMS])
        head_I = head_I[count_V[head_I] > 0]
        size = (len(stop_U), len(self.from_VR))
        had_UV = csr_matrix((np.ones(len(item_N)), (user_N, item_N)), shape=size)
        had_UV.data[:] = 1.0  # had twice is had
        weight_II = torch.from_numpy(conditional_weights(had_UV[:, head_I], l2)).float()
        width = min(self.from_VR.shape[1], len(head_I))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            left_IR, size_R, right_IR = torch.svd_lowrank(weight_II, width, niter=_ROUNDS)
        rows = torch.from_numpy(head_I).to(device)
        for table_VR, factor_IR in ((self.from_VR, left_IR), (self.to_VR, right_IR)):
            table_VR.zero_()
            table_VR[rows, :width] = (factor_IR * size_R.sqrt()).to(device)

    def investor(self, unit_BD: Tensor, item_BL: Tensor, action_BL: Tensor) -> Tensor:
        """Return the trunk's unit states with what the items of the history say behind them."""
        if not self.mix:
            return unit_BD
        had_BL = torch.where(self.liked_A[action_BL], item_BL, 0)
        had_BV = unit_BD.new_zeros(len(had_BL), len(self.from_VR)).scatter_(1, had_BL, 1.0)
        said_BR = self.mix * (had_BV @ self.from_VR)
        return functional.normalize(functional.pad(torch.cat([unit_BD, said_BR], 1), (0, 1)), dim=1)

    def item(self, unit_VD: Tensor) -> Tensor:
        """Return the trunk's unit vectors with the factors behind them.

        A last number, to which no investor answers, gives all the same length.
        """
        if not self.mix:
            return unit_VD
        square_V1 = (self.to_VR**2).sum(1, keepdim=True)
        rest_V1 = (square_V1.max() - square_V1).clamp(min=0.0).sqrt()
        return functional.normalize(torch.cat([unit_VD, self.to_VR, rest_V1], 1), dim=1)
