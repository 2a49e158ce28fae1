"""What an investor did lately, at several scales of real time, beside what the trunk made of it.

Each scale is a mean of the trunk's outputs that decays with time; the state and the gaps around it
choose between the scales.  A salary comes monthly, a trader returns within the hour: one decay
cannot tell both.  MARS, arXiv 2606.03718.

The request time reaches the choice alone: it cancels in weights that add up to one.

Legend: B sequences, L positions, D width, K scales.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera.model.nn.linear import dropout, linear
from tessera.model.nn.tiles import View

_EPS = 1e-6
_INIT_STD = 0.02
GAPS = 2
"""Gaps that the choice between the scales sees."""


def log_spaced(shortest: float, longest: float, count: int) -> tuple[float, ...]:
    """Return so many scales from the shortest to the longest; one lies in the middle.

    >>> log_spaced(1.0, 100.0, 3)
    (1.0, 10.0, 100.0)
    >>> log_spaced(1.0, 100.0, 1)
    (10.0,)
    """
    ratio = longest / shortest
    places = [step / (count - 1) for step in range(count)] if count > 1 else [0.5] * count
    return tuple(shortest * ratio**place for place in places)


@dataclass(frozen=True, slots=True)
class RecencySettings:
    """Recency as a state part."""

    start_s: tuple[float, ...]
    """Where the scales start, in seconds."""

    def build(self, width: int, dropout: float) -> Recency:
        """Return the module."""
        return Recency(width, self.start_s, dropout)

    def flops(self, width: int, events: int) -> int:
        """Return what the summaries of a history cost."""
        choose = 2 * events * (width + GAPS) * len(self.start_s)
        mix = 2 * events * events * width
        return choose + mix + 2 * events * width * width


class Recency(nn.Module):
    """Adds to each output a mixture of means over the events it sees, each with its own decay."""

    start_K: Tensor

    def __init__(self, width: int, start_s: tuple[float, ...], dropout: float) -> None:
        """Begin at the identity, with scales of so many seconds."""
        super().__init__()
        self.dropout = dropout
        self.register_buffer("start_K", torch.tensor(start_s).log(), persistent=False)
        # Learnt from where it starts, so that weight decay pulls there and not to a second.
        self.shift_K = nn.Parameter(torch.zeros(len(start_s)))
        self.gate = nn.Linear(width + GAPS, len(start_s))
        nn.init.normal_(self.gate.weight, std=_INIT_STD)
        nn.init.zeros_(self.gate.bias)
        # The output itself is added as it is: the layer below already ends in such a matrix.
        self.out = nn.Parameter(torch.zeros(width, width))

    def scale_s(self) -> Tensor:
        """Return scale_K: seconds after which an event counts 1 / e."""
        return (self.start_K + self.shift_K).exp()

    def forward(self, x_BLD: Tensor, view: View) -> Tensor:
        """Return the outputs with what they saw at each scale, same shape."""
        gap_BLL = (view.second_BL[:, :, None] - view.second_BL[:, None, :]).to(x_BLD.dtype)
        gap_BLL = gap_BLL.clamp_(min=0.0)  # padding may come before what it sees
        share_BLK = self._gate(x_BLD, gap_BLL, view).softmax(-1)
        weight_BLL = torch.zeros_like(gap_BLL)
        for share_BL, scale in zip(share_BLK.unbind(-1), self.scale_s(), strict=True):
            decay_BLL = torch.exp(-gap_BLL / scale).masked_fill(~view.mask_BLL, 0.0)
            weight_BLL = weight_BLL + decay_BLL * (share_BL / decay_BLL.sum(-1))[..., None]
        # One product for all scales: a mixture of means is a mean under the mixed weights.
        lately_BLD = dropout(weight_BLL @ x_BLD, self.dropout, self.training)
        return x_BLD + linear(lately_BLD, self.out)

    def _gate(self, x_BLD: Tensor, gap_BLL: Tensor, view: View) -> Tensor:
        """Return logit_BLK from the output, and how long ago its event and the one before are."""
        since_BL = (view.request_BL - view.second_BL).to(x_BLD.dtype).clamp(min=0.0)
        is_before_BLL = view.mask_BLL & (gap_BLL > 0)
        before_BL = gap_BLL.masked_fill(~is_before_BLL, torch.inf).amin(-1)
        before_BL = before_BL.masked_fill(before_BL.isinf(), 0.0)
        gap_BLG = torch.stack([since_BL, before_BL], -1).log1p()
        gap_BLG = gap_BLG / self.start_K[-1].exp().log1p()
        normed_BLD = functional.layer_norm(x_BLD, x_BLD.shape[-1:], eps=_EPS)
        inputs = torch.cat([normed_BLD, gap_BLG], dim=-1)
        return linear(inputs, self.gate.weight.T) + self.gate.bias
