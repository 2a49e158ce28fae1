"""The HSTU layer, as the authors' research code computes it: linear-cost gates, no softmax.

Legend: B sequences, L positions, D width, H heads, E width of a head, K time buckets.
Zhai et al. 2024, arXiv 2402.17152, equations 1 to 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

TIME_BUCKETS = 129
_BUCKET_WIDTH = 0.301
_EPS = 1e-6
_INIT_STD = 0.02


@dataclass(frozen=True, slots=True)
class View:
    """What each position may look at, and from how far; the same for all layers."""

    mask_BLL: Tensor
    """True where the row may see the column."""
    steps_BLL: Tensor
    """Distinct times between row and column, 0 to length - 1."""
    bucket_BLL: Tensor
    """Time bucket between the row's request and the column's event."""
    real_BL1: Tensor
    """1 at events, 0 at padding."""


def time_bucket(gap_s: Tensor) -> Tensor:
    """Bucket of a gap in whole seconds: floor(ln(max(1, |gap|)) / 0.301), at most 128."""
    log_gap = gap_s.abs().clamp(min=1).float().log()
    return (log_gap / _BUCKET_WIDTH).long().clamp(max=TIME_BUCKETS - 1)


class _Lookup(torch.autograd.Function):
    """table[index] whose gradient is a histogram: several times faster than index_put."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.size = table.numel()
        return table[index]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        weights = grads[0].reshape(-1).double()
        total = torch.bincount(index.reshape(-1), weights=weights, minlength=ctx.size)
        return total.to(grads[0].dtype), None


def _look_up(table: Tensor, index_BLL: Tensor) -> Tensor:
    found_BLL: Tensor = _Lookup.apply(table, index_BLL)  # type: ignore[no-untyped-call]
    return found_BLL[:, None]


class RelativeBias(nn.Module):
    """rab[i, j]: a learnt number for the steps and one for the time from j to i."""

    def __init__(self, length: int, *, position_bias: bool, time_bias: bool) -> None:
        super().__init__()
        self.length = length
        self.position = (
            nn.Parameter(torch.empty(2 * length - 1).normal_(0, _INIT_STD))
            if position_bias
            else None
        )
        self.time = (
            nn.Parameter(torch.empty(TIME_BUCKETS).normal_(0, _INIT_STD)) if time_bias else None
        )

    def forward(self, score_BHLL: Tensor, view: View) -> Tensor:
        """Add the bias, shared by the heads, to the scores."""
        if self.position is not None:
            score_BHLL = score_BHLL + _look_up(self.position, view.steps_BLL + (self.length - 1))
        if self.time is not None:
            score_BHLL = score_BHLL + _look_up(self.time, view.bucket_BLL)
        return score_BHLL


class HstuLayer(nn.Module):
    """One layer: gated attention without softmax, then a residual."""

    def __init__(self, width: int, heads: int, dropout: float, bias: RelativeBias) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.bias = bias
        self.uvqk = nn.Parameter(torch.empty(width, 4 * width).normal_(0, _INIT_STD))
        self.out = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.out.weight)

    def forward(self, x_BLD: Tensor, view: View) -> Tensor:
        """Return the layer's output, same shape as its input."""
        width = x_BLD.shape[-1]
        mixed = functional.silu(functional.layer_norm(x_BLD, (width,), eps=_EPS) @ self.uvqk)
        u_BLD, v_BLD, q_BLD, k_BLD = mixed.chunk(4, dim=-1)
        v_BHLE, q_BHLE, k_BHLE = (self._by_head(part) for part in (v_BLD, q_BLD, k_BLD))
        score_BHLL = self.bias(q_BHLE @ k_BHLE.transpose(-1, -2), view)
        # A constant n keeps the output independent of the batch; the mask comes after the SiLU.
        weight_BHLL = functional.silu(score_BHLL).masked_fill(~view.mask_BLL[:, None], 0.0)
        seen_BLD = ((weight_BHLL @ v_BHLE) / self.bias.length).transpose(1, 2).flatten(2)
        gated_BLD = u_BLD * functional.layer_norm(seen_BLD, (width,), eps=_EPS)
        out_BLD: Tensor = self.out(functional.dropout(gated_BLD, self.dropout, self.training))
        return out_BLD + x_BLD

    def _by_head(self, part_BLD: Tensor) -> Tensor:
        batch, length, width = part_BLD.shape
        return part_BLD.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
