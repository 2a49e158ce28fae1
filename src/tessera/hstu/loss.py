"""Softmax losses on unit vectors: each target against negatives, or against the catalogue.

Legend: N targets, D width, V items with padding first, W warm items, M negatives.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def sampled_softmax(
    state_ND: Tensor, item_VD: Tensor, target_N: Tensor, negative_NM: Tensor, temperature: float
) -> Tensor:
    """Mean loss against sampled negatives; a negative equal to the target is left out.

    Parameters
    ----------
    state_ND, item_VD : Tensor
        Any length; both are normalised here.
    target_N, negative_NM : Tensor
        Rows of item_VD; padding must not be among them.
    temperature : float
        Divides the cosines.
    """
    state_ND, item_VD = (
        functional.normalize(state_ND, dim=-1),
        functional.normalize(item_VD, dim=-1),
    )
    positive_N = (state_ND * item_VD[target_N]).sum(-1) / temperature
    negative_logit_NM = torch.einsum("nd,nmd->nm", state_ND, item_VD[negative_NM]) / temperature
    negative_logit_NM = negative_logit_NM.masked_fill(negative_NM == target_N[:, None], -torch.inf)
    logit = torch.cat([positive_N[:, None], negative_logit_NM], dim=1)
    return (torch.logsumexp(logit, dim=1) - positive_N).mean()


def full_softmax(
    state_ND: Tensor, item_VD: Tensor, target_N: Tensor, warm_W: Tensor, temperature: float
) -> Tensor:
    """Mean loss against every warm item; `warm_W` holds sorted rows, targets among them."""
    state_ND = functional.normalize(state_ND, dim=-1)
    warm_WD = functional.normalize(item_VD[warm_W], dim=-1)
    logit_NW = state_ND @ warm_WD.T / temperature
    return functional.cross_entropy(logit_NW, torch.searchsorted(warm_W, target_N))


def draw_negatives(warm_W: Tensor, targets: int, negatives: int) -> Tensor:
    """Draw negative_NM uniformly from the warm items, padding never among them."""
    return warm_W[torch.randint(len(warm_W), (targets, negatives))]
