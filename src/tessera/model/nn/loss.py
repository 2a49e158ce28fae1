"""Softmax losses on unit vectors: each target against negatives, or against the catalogue.

Legend: N targets, D width, V items with padding first, W warm items, M negatives.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tessera.model.nn.linear import product

_CELLS = 500_000
"""Logits at a time: a few megabytes, which the caches hold."""
_GPU_CELLS = 1 << 26
"""A GPU wants few large products."""
_FLAT = 40.0
"""Logits between -40 and 40 need no shift: their exponentials and products with them are finite."""
_NEVER = -1e30


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
    positive_N = (state_ND * functional.embedding(target_N, item_VD)).sum(-1) / temperature
    negative_NMD = functional.embedding(negative_NM, item_VD)
    negative_logit_NM = torch.einsum("nd,nmd->nm", state_ND, negative_NMD) / temperature
    negative_logit_NM = negative_logit_NM.masked_fill(negative_NM == target_N[:, None], -torch.inf)
    logit = torch.cat([positive_N[:, None], negative_logit_NM], dim=1)
    return (torch.logsumexp(logit, dim=1) - positive_N).mean()


def full_softmax(
    state_ND: Tensor, item_VD: Tensor, target_N: Tensor, warm_W: Tensor, temperature: float
) -> Tensor:
    """Mean loss against every warm item; `warm_W` holds sorted rows, targets among them."""
    state_ND = functional.normalize(state_ND, dim=-1)
    warm_WD = functional.normalize(functional.embedding(warm_W, item_VD), dim=-1)
    column_N = torch.searchsorted(warm_W, target_N)
    loss: Tensor = _FullSoftmax.apply(  # type: ignore[no-untyped-call]
        state_ND, warm_WD / temperature, column_N, 1 / temperature
    )
    return loss


class _FullSoftmax(torch.autograd.Function):
    """Mean cross entropy of state @ warm.T; the logits never exist but a few rows at a time.

    The gradients are taken while the logits are there, so that nothing is computed twice, and
    what is divided by the sum of a row is the short side of each product, not the row.
    """

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        state_ND, warm_WD, column_N, largest = given
        total: Tensor = -(state_ND * warm_WD[column_N]).sum()
        dstate_ND, dwarm_DW = torch.empty_like(state_ND), torch.zeros_like(warm_WD).T.contiguous()
        cells = _CELLS if state_ND.device.type == "cpu" else _GPU_CELLS
        rows = max(1, cells // max(1, len(warm_WD)))
        for first in range(0, len(state_ND), rows):
            part_RD = state_ND[first : first + rows]
            logit_RW = product(part_RD, warm_WD.T)
            if largest > _FLAT:
                top_R1 = logit_RW.amax(1, keepdim=True)
                total += top_R1.sum()
                logit_RW -= top_R1
            weight_RW = logit_RW.exp_()
            sum_R1 = weight_RW.sum(1, keepdim=True)
            total += sum_R1.log().sum()
            if any(ctx.needs_input_grad):
                dstate_ND[first : first + rows] = product(weight_RW, warm_WD) / sum_R1
                dwarm_DW += product((part_RD / sum_R1).T, weight_RW)
        if any(ctx.needs_input_grad):
            dstate_ND -= warm_WD[column_N]
            dwarm_DW.T.index_add_(0, column_N, state_ND, alpha=-1)
        ctx.save_for_backward(dstate_ND, dwarm_DW)
        return total / len(state_ND)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        dstate_ND, dwarm_DW = ctx.saved_tensors
        scale = grads[0] / len(dstate_ND)
        return dstate_ND * scale, dwarm_DW.T * scale, None, None


def shared_softmax(
    state_ND: Tensor, item_VD: Tensor, target_N: Tensor, negative_GM: Tensor, temperature: float
) -> Tensor:
    """Mean loss against negatives that a run of targets shares; one equal to a target is left out.

    Each of the G rows of negatives serves an equal run of targets, the last perhaps a shorter one,
    so that logits are a matrix product instead of a gather of N x M x D numbers.
    """
    state_ND = functional.normalize(state_ND, dim=-1)
    target_ND = functional.normalize(functional.embedding(target_N, item_VD), dim=-1)
    negative_GMD = functional.normalize(functional.embedding(negative_GM, item_VD), dim=-1)
    loss: Tensor = _SharedSoftmax.apply(  # type: ignore[no-untyped-call]
        state_ND, target_ND / temperature, negative_GMD / temperature, target_N, negative_GM
    )
    return loss


class _SharedSoftmax(torch.autograd.Function):
    """Mean cross entropy of each target against the negatives of its run, with its gradients."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        state_ND, target_ND, negative_GMD, target_N, negative_GM = given
        dstate_ND, dtarget_ND = torch.empty_like(state_ND), torch.empty_like(target_ND)
        dnegative_GMD = torch.zeros_like(negative_GMD)
        total = state_ND.new_zeros(())
        run = -(-len(target_N) // len(negative_GM))
        for row, first in enumerate(range(0, len(target_N), run)):
            part = slice(first, first + run)
            state_RD, negative_MD = state_ND[part], negative_GMD[row]
            logit_RM = product(state_RD, negative_MD.T)
            logit_RM.masked_fill_(target_N[part, None] == negative_GM[row], _NEVER)
            chance_RM = torch.softmax(logit_RM, dim=1)
            # log(sum(exp(logit))): the largest chance is exp(largest logit) over that sum.
            rivals_R1 = logit_RM.amax(1, keepdim=True) - chance_RM.amax(1, keepdim=True).log()
            gap_R1 = rivals_R1 - (state_RD * target_ND[part]).sum(1, keepdim=True)
            total += functional.softplus(gap_R1).sum()
            missed_R1 = gap_R1.sigmoid()
            chance_RM *= missed_R1
            dstate_ND[part] = product(chance_RM, negative_MD) - missed_R1 * target_ND[part]
            dtarget_ND[part] = -missed_R1 * state_RD
            dnegative_GMD[row] = product(state_RD.T, chance_RM).T
        ctx.save_for_backward(dstate_ND, dtarget_ND, dnegative_GMD)
        return total / len(target_N)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scale = grads[0] / len(ctx.saved_tensors[0])
        return *(gradient * scale for gradient in ctx.saved_tensors), None, None


def draw_negatives(warm_W: Tensor, targets: int, negatives: int) -> Tensor:
    """Draw negative_NM uniformly from the warm items, padding never among them."""
    return warm_W[torch.randint(len(warm_W), (targets, negatives), device=warm_W.device)]
