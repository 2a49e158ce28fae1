"""Masked action modelling: hide what was done, keep the item, and let the state say what it was.

It buys at length n what interleaving items and actions buys at 2n (UniPinRec, arXiv 2606.00422).

Legend: B sequences, L positions, D width, A actions, N masked events.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera.contracts.tables import ACTIONS

_INIT_STD = 0.02


class ActionGuess(nn.Module):
    """The vector that stands for a hidden action, and the guess of it from the output there."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mask_D = nn.Parameter(torch.empty(width).normal_(0, _INIT_STD))
        self.guess = nn.Linear(width, len(ACTIONS))

    def hide(self, action_BLD: Tensor, masked_BL: Tensor) -> Tensor:
        """Put the mask vector where events are masked."""
        return torch.where(masked_BL[:, :, None], self.mask_D, action_BLD)

    def loss(self, out_BLD: Tensor, action_BL: Tensor, masked_BL: Tensor) -> Tensor:
        """Mean cross-entropy of the hidden actions; 0 if none is hidden."""
        out_ND, action_N = out_BLD[masked_BL], action_BL[masked_BL]
        if not len(action_N):
            return out_BLD.sum() * 0.0
        return functional.cross_entropy(self.guess(out_ND), action_N)


def draw_mask(real_BL: Tensor, share: float) -> Tensor:
    """Draw which events are masked, padding never."""
    return real_BL & (torch.rand(real_BL.shape, device=real_BL.device) < share)
