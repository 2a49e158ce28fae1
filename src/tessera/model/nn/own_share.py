"""An item as its own vector and its codewords, the more of the former the more mature it is.

GateSID (arXiv 2603.22916): what an item's own vector learnt is worth much where many met it and
little where nobody did, while its code says the same from the first day.  A sum of both counts them
alike; here a share between 0 and 1 says how much of an item is its own.  Three ways to tell it, the
simplest first: `shrink`, n / (n + k) of the events n that its vector was learnt from, with one k
for all; `logistic`, from how long it was on sale, how often it was shown and how often somebody
answered; `net`, from these and the vector itself, by a hidden layer.

Maturity is that at the end of what was learnt from.  It is saved with the weights, so an item is
the same vector wherever the model is read.  An item that is seen by its code alone counts as one
that nobody met.

Worked example: an own vector (2, 0) and codewords that add up to (0, 1).  At a share of 1/2 the
item is their sum, (2, 1); at 3/4 it is 2 * 3/4 * (2, 0) + 2 * 1/4 * (0, 1) = (3, .5).

Legend: V items with padding first, D width, C code levels, F facts of maturity, W items learnt of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera.model.nn.codewords import Codewords, CodewordSettings

MATURITY = ("days", "shown", "answered")
"""Days on sale, exposures, and events worth predicting, each as log(1 + x)."""
_ANSWERED = MATURITY.index("answered")
_HIDDEN = 8
_FIRST_K = 10.0
_EPS = 1e-6


@dataclass(frozen=True, slots=True)
class OwnShareSettings:
    """A weighed sum of own vector and codewords as an item input."""

    sizes: tuple[int, ...]
    """Codewords of each level, the row for `no code` included."""
    id_dropout: float
    """Share of items that a step sees by their codes alone."""
    items: int
    """Rows of the item table, padding included."""
    share: str
    """What tells the share that is an item's own: a name of `SHARES`."""

    def build(self, width: int) -> WeighedCodewords:
        """Return the module."""
        return WeighedCodewords(width, self)


class WeighedCodewords(Codewords):
    """Own vector and codewords, weighed; `logistic` and `net` begin as their plain sum."""

    maturity_VF: Tensor
    mean_F: Tensor
    std_F: Tensor

    def __init__(self, width: int, settings: OwnShareSettings) -> None:
        super().__init__(width, CodewordSettings(settings.sizes, settings.id_dropout))
        self.own = SHARES[settings.share](width)
        # Until somebody tells more, every item was answered once.
        self.register_buffer("maturity_VF", torch.ones(settings.items, len(MATURITY)).log1p())
        self.register_buffer("mean_F", torch.zeros(len(MATURITY)))
        self.register_buffer("std_F", torch.ones(len(MATURITY)))

    def tell(self, maturity_VF: Tensor, warm_W: Tensor) -> None:
        """Take log(1 + x) of the facts of each item; their scale is that of the items learnt of."""
        self.maturity_VF.copy_(maturity_VF)
        known_WF = maturity_VF[warm_W].double()
        self.mean_F.copy_(known_WF.mean(0))
        std_F = known_WF.std(0, correction=0)
        self.std_F.copy_(torch.where(std_F > _EPS, std_F, 1.0))

    def forward(self, item_VD: Tensor, codes_VC: Tensor, warm_V: Tensor) -> Tensor:
        """Return item_VD: own part and codewords, each by its share; an unseen item has no own."""
        keep_V1 = self.kept(warm_V)[:, None]
        own_VD = item_VD * keep_V1
        own_V1 = self._share(own_VD, keep_V1)
        item_VD = own_VD * (2.0 * own_V1)
        for level, codeword_KD in enumerate(self.codebook()):
            item_VD = item_VD + codeword_KD[codes_VC[:, level]] * (2.0 - 2.0 * own_V1)
        return item_VD

    def share(self, item_VD: Tensor, warm_V: Tensor) -> Tensor:
        """Return share_V: how much of each item is its own, from 0 to 1."""
        keep_V1 = warm_V.float()[:, None]
        return self._share(item_VD * keep_V1, keep_V1)[:, 0]

    def _share(self, own_VD: Tensor, keep_V1: Tensor) -> Tensor:
        maturity_VF = self.maturity_VF * keep_V1
        own_V1: Tensor = self.own(own_VD, maturity_VF, (maturity_VF - self.mean_F) / self.std_F)
        return own_V1


class Shrinkage(nn.Module):
    """n / (n + k): the posterior mean of a vector that n noisy events told of."""

    def __init__(self, _: int) -> None:
        super().__init__()
        self.log_k = nn.Parameter(torch.tensor(math.log(_FIRST_K)))

    def forward(self, _: Tensor, maturity_VF: Tensor, __: Tensor) -> Tensor:
        """Return share_V1."""
        count_V1 = maturity_VF[:, _ANSWERED, None].expm1()
        share_V1: Tensor = count_V1 / (count_V1 + self.log_k.exp())
        return share_V1


class LogisticShare(nn.Module):
    """A logistic regression on the facts."""

    def __init__(self, _: int) -> None:
        super().__init__()
        self.weight_F = nn.Parameter(torch.zeros(len(MATURITY)))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, _: Tensor, __: Tensor, scaled_VF: Tensor) -> Tensor:
        """Return share_V1."""
        share_V1: Tensor = ((scaled_VF * self.weight_F).sum(1, keepdim=True) + self.bias).sigmoid()
        return share_V1


class ShareNet(nn.Module):
    """A hidden layer on the facts and the item's own vector."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = math.sqrt(width)
        self.hidden = nn.Linear(width + len(MATURITY), _HIDDEN)
        self.out_H = nn.Parameter(torch.zeros(_HIDDEN))

    def forward(self, own_VD: Tensor, _: Tensor, scaled_VF: Tensor) -> Tensor:
        """Return share_V1."""
        known_VI = torch.cat([own_VD * self.scale, scaled_VF], 1)
        hidden_VH = functional.silu(self.hidden(known_VI))
        share_V1: Tensor = (hidden_VH * self.out_H).sum(1, keepdim=True).sigmoid()
        return share_V1


SHARES: Mapping[str, Callable[[int], nn.Module]] = {
    "shrink": Shrinkage,
    "logistic": LogisticShare,
    "net": ShareNet,
}
