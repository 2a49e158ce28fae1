"""The yardstick of the speed figure: HSTU in plain PyTorch, padded to full length, eager.

Written from the formulas of the paper (arXiv 2402.17152, equations 1 to 3) and the settings of the
authors' research code, the way one would write it first; nothing here is slow on purpose: buckets
are computed once a batch, embeddings use `nn.Embedding`, the position bias is made once for all
sequences, the loss looks at real positions only. It shares no line with `tessera.model`.

Legend: B sequences, L positions (always the full length), D width, H heads, E width of a head,
V items with padding first, N real positions, M negatives of each.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

_EPS = 1e-6
_BUCKETS = 129


class ReferenceLayer(nn.Module):
    """One layer of pointwise attention with a bias from position and time."""

    def __init__(self, width: int, heads: int, length: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.length = heads, length
        self.uvqk = nn.Parameter(torch.empty(width, 4 * width).normal_(0, 0.02))
        self.position = nn.Parameter(torch.empty(2 * length - 1).normal_(0, 0.02))
        self.time = nn.Parameter(torch.empty(_BUCKETS).normal_(0, 0.02))
        self.out = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.out.weight)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, bucket_BLL: Tensor, mask_LL: Tensor) -> Tensor:
        """Return the layer's output, same shape as its input."""
        batch, length, width = x_BLD.shape
        normed_BLD = functional.layer_norm(x_BLD, (width,), eps=_EPS)
        u, v, q, k = functional.silu(normed_BLD @ self.uvqk).chunk(4, dim=-1)
        split = (batch, length, self.heads, width // self.heads)
        v_BHLE, q_BHLE, k_BHLE = (part.reshape(split).transpose(1, 2) for part in (v, q, k))
        order = torch.arange(length)
        position_LL = self.position[order[:, None] - order[None, :] + self.length - 1]
        time_BLL = self.time.index_select(0, bucket_BLL.view(-1)).view(bucket_BLL.shape)
        score_BHLL = q_BHLE @ k_BHLE.transpose(-1, -2) + (position_LL + time_BLL)[:, None]
        weight_BHLL = functional.silu(score_BHLL) / self.length * mask_LL
        seen_BLD = (weight_BHLL @ v_BHLE).transpose(1, 2).reshape(batch, length, width)
        gated_BLD = u * functional.layer_norm(seen_BLD, (width,), eps=_EPS)
        out_BLD: Tensor = self.out(self.dropout(gated_BLD)) + x_BLD
        return out_BLD


def time_buckets(request_BL: Tensor, second_BL: Tensor) -> Tensor:
    """Return bucket_BLL of the gap between the row's request and the column's event."""
    gap_BLL = (request_BL[:, :, None] - second_BL[:, None, :]).abs().clamp(min=1)
    return (gap_BLL.float().log() / 0.301).long().clamp(max=_BUCKETS - 1)


class ReferenceModel(nn.Module):
    """Item and position embeddings under a stack of layers."""

    def __init__(
        self, items: int, *, width: int, blocks: int, heads: int, length: int, dropout: float
    ) -> None:
        super().__init__()
        self.width = width
        self.item = nn.Embedding(items, width, padding_idx=0)
        self.position = nn.Embedding(length, width)
        nn.init.normal_(self.item.weight, std=0.02)
        nn.init.normal_(self.position.weight, std=0.02)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            ReferenceLayer(width, heads, length, dropout) for _ in range(blocks)
        )
        self.register_buffer("mask_LL", torch.ones(length, length).tril())

    def forward(self, item_BL: Tensor, second_BL: Tensor, request_BL: Tensor) -> Tensor:
        """Return state_BLD after each event, zero at padding."""
        real_BL1 = (item_BL != 0).float()[:, :, None]
        x_BLD = self.item(item_BL) * math.sqrt(self.width) + self.position.weight
        return self.stack(self.dropout(x_BLD) * real_BL1, second_BL, request_BL) * real_BL1

    def stack(self, x_BLD: Tensor, second_BL: Tensor, request_BL: Tensor) -> Tensor:
        """Return what the layers make of their input."""
        bucket_BLL = time_buckets(request_BL, second_BL)
        for layer in self.layers:
            x_BLD = layer(x_BLD, bucket_BLL, self.mask_LL)
        return x_BLD


def reference_loss(
    model: ReferenceModel, state_BLD: Tensor, target_BL: Tensor, *, normalised_first: bool
) -> Tensor:
    """Softmax of the next item against 128 uniform negatives drawn for every real position.

    With `normalised_first` the item table is normalised once; otherwise every gathered vector is,
    as in the authors' code: the same loss and much more work.
    """
    state_ND = functional.normalize(state_BLD[target_BL != 0], dim=-1)
    target_N = target_BL[target_BL != 0]
    negative_NM = torch.randint(1, model.item.num_embeddings, (len(target_N), 128))
    if normalised_first:
        item_VD = functional.normalize(model.item.weight, dim=-1)
        positive_ND = functional.embedding(target_N, item_VD)
        negative_NMD = functional.embedding(negative_NM, item_VD)
    else:
        positive_ND = functional.normalize(model.item(target_N), dim=-1)
        negative_NMD = functional.normalize(model.item(negative_NM), dim=-1)
    positive_N1 = (state_ND * positive_ND).sum(-1, keepdim=True) / 0.05
    negative_logit_NM = (negative_NMD @ state_ND[:, :, None]).squeeze(-1) / 0.05
    is_target_NM = negative_NM == target_N[:, None]
    logit = torch.cat([positive_N1, negative_logit_NM.masked_fill(is_target_NM, -5e4)], dim=1)
    return functional.cross_entropy(logit, torch.zeros_like(target_N))
