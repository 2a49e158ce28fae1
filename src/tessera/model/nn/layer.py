"""The HSTU layer, as the authors' research code computes it: gated, no softmax.

Legend: B sequences, L positions, D width, H heads, E width of a head.
Zhai et al. 2024, arXiv 2402.17152, equations 1 to 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera.model.nn.attention import Bias, attend
from tessera.model.nn.linear import dropout, linear
from tessera.model.nn.tiles import TIME_BUCKETS, View

_EPS = 1e-6
_INIT_STD = 0.02


class RelativeBias(nn.Module):
    """rab[i, j]: a learnt number for the steps and one for the time from j to i."""

    def __init__(
        self, length: int, *, position_bias: bool, time_bias: bool, extra_bias: bool = False
    ) -> None:
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
        self.extra = nn.Parameter(torch.zeros(())) if extra_bias else None

    def forward(self) -> Bias:
        """Return what is added to the scores."""
        return Bias(self.position, self.time, self.extra)


class HstuLayer(nn.Module):
    """One layer: gated attention without softmax, then a residual."""

    def __init__(self, width: int, heads: int, dropout: float, bias: RelativeBias) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.bias = bias
        self.attend = attend  # which a compiler must leave alone
        self.uvqk = nn.Parameter(torch.empty(width, 4 * width).normal_(0, _INIT_STD))
        self.out = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.out.weight)

    def forward(self, x_BLD: Tensor, view: View) -> Tensor:
        """Return the layer's output, same shape as its input."""
        u_BLD, q_BHLE, k_BHLE, v_BHLE = self.parts(x_BLD)
        return self.gated(x_BLD, u_BLD, self.attend(q_BHLE, k_BHLE, v_BHLE, self.bias(), view))

    def parts(self, x_BLD: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return gate u_BLD, queries q_BHLE, keys k_BHLE and values v_BHLE of the layer's input."""
        u_BLD, v_BLD, q_BLD, k_BLD = self._mix(x_BLD, self.uvqk).chunk(4, dim=-1)
        return u_BLD, self._by_head(q_BLD), self._by_head(k_BLD), self._by_head(v_BLD)

    def gated(self, x_BLD: Tensor, u_BLD: Tensor, seen_BHLE: Tensor) -> Tensor:
        """Return the layer's output from its input, the gate and what was attended to."""
        # A constant n keeps the output independent of the batch; the mask comes after the SiLU.
        seen_BLD = seen_BHLE.transpose(1, 2).flatten(2) / self.bias.length
        gated_BLD = u_BLD * functional.layer_norm(seen_BLD, (x_BLD.shape[-1],), eps=_EPS)
        kept_BLD = dropout(gated_BLD, self.dropout, self.training)
        return linear(kept_BLD, self.out.weight.T) + self.out.bias + x_BLD

    def keys_values(self, x_BLD: Tensor) -> tuple[Tensor, Tensor]:
        """Return k_BHLE and v_BHLE of the layer's input, for others to attend to."""
        _, v_DD, _, k_DD = self.uvqk.chunk(4, dim=1)
        mixed_BLF = self._mix(x_BLD, torch.cat([k_DD, v_DD], dim=1))
        k_BLD, v_BLD = mixed_BLF.chunk(2, dim=-1)
        return self._by_head(k_BLD), self._by_head(v_BLD)

    def _mix(self, x_BLD: Tensor, weight_DF: Tensor) -> Tensor:
        normed_BLD = functional.layer_norm(x_BLD, (x_BLD.shape[-1],), eps=_EPS)
        return functional.silu(linear(normed_BLD, weight_DF))

    def _by_head(self, part_BLD: Tensor) -> Tensor:
        batch, length, width = part_BLD.shape
        return part_BLD.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
