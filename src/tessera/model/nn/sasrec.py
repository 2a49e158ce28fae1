"""The SASRec block, the baseline that HSTU must beat under the same loss and budget.

Legend: B sequences, L positions, D width.  Kang and McAuley 2018, arXiv 1808.09781, section III.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tessera.model.nn.tiles import View

_EPS = 1e-8


class SasrecBlock(nn.Module):
    """Masked softmax attention, then a point-wise feed-forward net, each with a residual."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query_norm = nn.LayerNorm(width, eps=_EPS)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width, eps=_EPS)
        self.feed = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width)
        )

    def forward(self, x_BLD: Tensor, view: View) -> Tensor:
        """Return the block's output, same shape as its input; zero at padding."""
        normed_BLD = self.query_norm(x_BLD)
        key_BLD, value_BLD = self.key_value(x_BLD).chunk(2, dim=-1)
        seen_BHLE = functional.scaled_dot_product_attention(
            self._by_head(self.query(normed_BLD)),
            self._by_head(key_BLD),
            self._by_head(value_BLD),
            attn_mask=view.mask_BLL[:, None],
            dropout_p=self.dropout if self.training else 0.0,
        )
        x_BLD = normed_BLD + self.out(seen_BHLE.transpose(1, 2).flatten(2))
        normed_BLD = self.feed_norm(x_BLD)
        fed_BLD = functional.dropout(self.feed(normed_BLD), self.dropout, self.training)
        out_BLD: Tensor = (normed_BLD + fed_BLD) * view.real_BL1
        return out_BLD

    def _by_head(self, part_BLD: Tensor) -> Tensor:
        batch, length, width = part_BLD.shape
        return part_BLD.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
