"""A ranker that meets investor and item, and whose best weights do not hang on a seed.

The log odds of a click are a sum of linear terms: features of the candidate, its item, its
position, and the product of a vector of the investor with one of the item.  The item's is that of
the trunk and stands still; the investor's is a linear map of a dense vector, or the sum of a row in
the table of each codeword (HDE, arXiv 2606.01396).  So the loss is convex, and tables need no luck
to get away from where they start.

Legend: S rows, F features, K fields, X dense features of the investor, V items with padding first,
E width of an item's vector with a constant behind it, P positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)
"""Of the part that knows the investor; the rows of the validation choose one."""
_PLAIN = 1e-5
_STEPS, _FAR, _EPS = 60, 5.0, 1e-6


@dataclass(frozen=True, slots=True)
class Rows:
    """Shown items, and whether they were clicked."""

    feature_SF: Tensor
    """NaN where unknown."""
    dense_SX: Tensor
    """NaN where unknown."""
    field_SK: Tensor
    item_S: Tensor
    position_S: Tensor
    clicked_S: Tensor
    weight_S: Tensor
    """0 where nobody knows."""


class InvestorRanker(nn.Module):
    """Log odds of a click; all weights begin at 0."""

    mean_F: Tensor
    std_F: Tensor
    item_VE: Tensor

    def __init__(self, learn: Rows, item_VD: Tensor, table: int, positions: int) -> None:
        """Take the scale of the features from the rows to learn from."""
        super().__init__()
        known_SF = learn.feature_SF.isfinite()
        count_F = known_SF.sum(0).clamp(min=1)
        mean_F = learn.feature_SF.nan_to_num(0.0).double().sum(0) / count_F
        gap_SF = torch.where(known_SF, learn.feature_SF - mean_F, 0.0)
        std_F = (gap_SF.square().sum(0) / count_F).sqrt()
        self.register_buffer("mean_F", mean_F.float())
        self.register_buffer("std_F", torch.where(std_F > _EPS, std_F, 1.0).float())
        self.scale = item_VD.shape[1] ** 0.5
        one_V1 = torch.ones(len(item_VD), 1)
        self.register_buffer("item_VE", torch.cat([item_VD * self.scale, one_V1], 1))
        width = self.item_VE.shape[1]
        self.bias = nn.Parameter(torch.zeros(()))
        self.weight_F = nn.Parameter(torch.zeros(learn.feature_SF.shape[1]))
        self.own_V = nn.Parameter(torch.zeros(len(item_VD)))
        self.position_P = nn.Parameter(torch.zeros(positions))
        self.map_XE = nn.Parameter(torch.zeros(learn.dense_SX.shape[1], width))
        self.rows_KTE = nn.Parameter(torch.zeros(learn.field_SK.shape[1], table, width))

    def forward(self, rows: Rows) -> Tensor:
        """Return logit_S at the positions of the rows."""
        feature_SF = ((rows.feature_SF - self.mean_F) / self.std_F).nan_to_num(0.0)
        logit_S = feature_SF.clamp(-_FAR, _FAR) @ self.weight_F + self.bias
        logit_S = logit_S + self.own_V[rows.item_S] + self.position_P[rows.position_S]
        investor_SE = (rows.dense_SX.nan_to_num(0.0) * self.scale) @ self.map_XE
        for field_S, row_TE in zip(rows.field_SK.T, self.rows_KTE, strict=True):
            investor_SE = investor_SE + row_TE[field_S]
        return cast(Tensor, logit_S + (investor_SE * self.item_VE[rows.item_S]).sum(1))

    def lost(self, rows: Rows) -> Tensor:
        """Return the mean loss of the rows whose answer is known."""
        loss_S = functional.binary_cross_entropy_with_logits(
            self(rows), rows.clicked_S, reduction="none"
        )
        return (loss_S * rows.weight_S).sum() / rows.weight_S.sum()

    def size(self, penalty: float) -> Tensor:
        """Return what the weights cost."""
        knows = self.map_XE.square().sum() + self.rows_KTE.square().sum()
        plain = sum(one.square().sum() for one in (self.weight_F, self.own_V, self.position_P))
        return penalty * knows + _PLAIN * plain


def fitted(learn: Rows, check: Rows, item_VD: Tensor, table: int, positions: int) -> InvestorRanker:
    """Return the ranker whose penalty loses least on the rows of the validation."""
    found = []
    for penalty in PENALTIES:
        ranker = InvestorRanker(learn, item_VD, table, positions)
        _minimise(ranker, learn, penalty)
        with torch.inference_mode():
            found.append((float(ranker.lost(check)), ranker))
        if not ranker.map_XE.numel() + ranker.rows_KTE.numel():
            break
    return min(found, key=lambda one: one[0])[1].eval()


def _minimise(ranker: InvestorRanker, learn: Rows, penalty: float) -> None:
    newton = torch.optim.LBFGS(
        ranker.parameters(), max_iter=_STEPS, line_search_fn="strong_wolfe", history_size=10
    )

    def loss() -> Tensor:
        newton.zero_grad()
        total = ranker.lost(learn) + ranker.size(penalty)
        total.backward()
        return total

    newton.step(loss)
