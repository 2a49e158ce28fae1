"""What will be wanted soon, beside a trunk that only knows what was wanted.

The trunk knows nothing of an item that nobody acquired yet, and how popular it thinks the others
are is the mean over all it learnt from.  Two closed forms of what is expected of an item
(`features.demand`) mend that: `Demand` adds the expected gain itself, times how much an investor
leans towards its class; `Trend` adds the logarithm of the expected over the mean gain so far, which
is what the logits of a softmax lack when popularity moves.

Legend: B sequences, V items with padding first, C classes, D width of the trunk.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera.contracts.arrays import Float64s
from tessera.model.nn.item_bias import EVERY, ItemBias
from tessera.shared.features.demand import HABIT, RARE, Acquired, Sale


class Demand(nn.Module):
    """Class and expected gain of each item, and the share of each class."""

    class_V: Tensor
    gain_V: Tensor
    share_C: Tensor

    def __init__(self, items: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("class_V", torch.zeros(items, dtype=torch.long))
        self.register_buffer("gain_V", torch.zeros(items))
        self.register_buffer("share_C", torch.zeros(classes))

    def learn(self, acquired: Acquired, sale: Sale, gain_V: Float64s) -> None:
        """Take the expected gains; the largest counts 1."""
        most = gain_V[1:].max(initial=0.0) or 1.0
        class_N = sale.class_V[acquired.item_N]
        share_C = np.bincount(class_N, minlength=len(self.share_C)) / max(1, len(class_N))
        self.class_V.copy_(torch.from_numpy(sale.class_V))
        self.gain_V.copy_(torch.from_numpy(gain_V / most))
        self.gain_V[0] = 0.0  # padding
        self.share_C.copy_(torch.from_numpy(share_C))

    def investor(self, had_BN: Tensor, item_N: Tensor | slice = EVERY) -> Tensor:
        """Return how much more than others an investor leans towards each class, as a root."""
        had_BC = had_BN @ self._classes(item_N)
        own_BC = had_BC + HABIT * self.share_C
        own_BC = own_BC / (had_BC.sum(1, keepdim=True) + HABIT)
        leaning_BC: Tensor = (own_BC / self.share_C.clamp(min=RARE)).sqrt()
        return leaning_BC

    def item(self) -> Tensor:
        """Return the expected gain of each item, in the place of its class."""
        return self._classes() * self.gain_V[:, None]

    def stand_in(self, unit_VD: Tensor, placed_V: Tensor) -> Tensor:
        """Give the items that the trunk cannot place the mean vector of those of their class."""
        class_VC = self._classes()
        known_VC = class_VC * placed_V.to(unit_VD.dtype)[:, None]
        mean_CD = (known_VC.T @ unit_VD) / known_VC.sum(0).clamp(min=1.0)[:, None]
        return torch.where(placed_V[:, None], unit_VD, class_VC @ mean_CD)

    def _classes(self, item_N: Tensor | slice = EVERY) -> Tensor:
        return functional.one_hot(self.class_V[item_N], len(self.share_C)).to(self.gain_V.dtype)


class Trend(ItemBias):
    """How much more than so far each item is expected to gain, as a logarithm."""

    def learn(self, gain_V: Float64s, mean_V: Float64s) -> None:
        """Compare the expected with the mean gain of a horizon so far, both up to a mean item."""
        usual = mean_V[mean_V > 0].mean() if mean_V.any() else 1.0
        self.set(np.log((gain_V + usual) / (mean_V + usual)))
