"""What closed forms know beside the trunk, as more numbers of every published vector.

A sum of inner products is one inner product, so whatever searches the vectors stays as it is.  How
much each part counts beside the trunk's cosine is its mix; with no mix at all the trunk's vectors
are published as they are.

Legend: B sequences, L positions, U users, Q events asked about, N that count, T actions that
count, A actions, D width of the trunk, R width of a part, V items with padding first.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera.contracts.arrays import Ints
from tessera.contracts.tables import ACTIONS
from tessera.model.nn.item_bias import EVERY
from tessera.model.trunk.demand import Demand, Trend
from tessera.model.trunk.item_weights import ItemWeights
from tessera.model.trunk.profit import Profit

MIXES = {
    "item_weights": (0.0, 0.05, 0.15, 0.5, 1.5, 5.0),
    "demand": (0.0, 0.05, 0.15, 0.5, 1.5, 5.0),
    "trend": (0.0, 0.02, 0.05, 0.1),
}
"""What the parts that the validation period decides on may count beside a cosine."""
Part = ItemWeights | Demand | Trend | Profit


class ClosedForm(nn.Module):
    """The parts, and how much each counts."""

    liked_A: Tensor
    mix_P: Tensor

    def __init__(self, items: int, item_weights_width: int, classes: int, profits: bool) -> None:
        super().__init__()
        parts: dict[str, nn.Module] = {}
        if item_weights_width:
            parts["item_weights"] = ItemWeights(items, item_weights_width)
        if classes:
            parts["demand"], parts["trend"] = Demand(items, classes), Trend(items)
        if profits:
            parts["profit"] = Profit(items)
        self.items = items
        self.parts = nn.ModuleDict(parts)
        self.register_buffer("liked_A", torch.zeros(len(ACTIONS), dtype=torch.bool))
        self.register_buffer("mix_P", torch.zeros(len(parts)))

    @property
    def mix(self) -> dict[str, float]:
        """Return how much each part counts."""
        return dict(zip(self.parts, self.mix_P.tolist(), strict=True))

    def let(self, **mix: float) -> None:
        """Let these parts count so much."""
        for name, value in mix.items():
            self.mix_P[list(self.parts).index(name)] = value

    def choices(self) -> Iterator[dict[str, float]]:
        """Yield every mix that validation may choose, nothing first."""
        names = [name for name in MIXES if name in self.parts]
        for values in product(*(MIXES[name] for name in names)):
            yield dict(zip(names, values, strict=True))

    def like(self, action_T: Ints) -> None:
        """Count these actions as acquiring an item."""
        self.liked_A.zero_()
        self.liked_A[torch.from_numpy(action_T).to(self.liked_A.device)] = True

    def investor(self, unit_BD: Tensor, item_BL: Tensor, action_BL: Tensor) -> Tensor:
        """Return the trunk's unit states with what the items of the history say behind them."""
        if not self._counted():
            return unit_BD
        return self._behind(unit_BD, self.had(item_BL, action_BL), EVERY)

    def one_investor(self, unit_1D: Tensor, item_1L: Tensor, action_1L: Tensor) -> Tensor:
        """Do as `investor` for one, up to rounding, without a table of all items.

        >>> import numpy as np
        >>> form = ClosedForm(5, 0, 2, profits=False)
        >>> form.let(demand=1.0)
        >>> form.like(np.array([2]))
        >>> told = torch.ones(1, 1), torch.tensor([[3, 4, 3]]), torch.tensor([[2, 0, 2]])
        >>> bool((form.one_investor(*told) == form.investor(*told)).all())
        True
        """
        if not self._counted():
            return unit_1D
        had_N = torch.unique(item_1L[self.liked_A[action_1L]])
        had_N = had_N[had_N > 0]
        return self._behind(unit_1D, unit_1D.new_ones(1, len(had_N)), had_N)

    def _behind(self, unit_BD: Tensor, had_BN: Tensor, item_N: Tensor | slice) -> Tensor:
        said = [mix * part.investor(had_BN, item_N) for mix, part in self._counted()]
        return functional.normalize(functional.pad(torch.cat([unit_BD, *said], 1), (0, 1)), dim=1)

    def had(self, item_BL: Tensor, action_BL: Tensor) -> Tensor:
        """Return had_BV: 1 for each item that a history acquired."""
        had_BL = torch.where(self.liked_A[action_BL], item_BL, 0)
        had_BV = torch.zeros(len(had_BL), self.items, device=had_BL.device).scatter_(1, had_BL, 1.0)
        had_BV[:, 0] = 0.0
        return had_BV

    def scores(
        self, unit_BD: Tensor, had_BV: Tensor, unit_VD: Tensor, placed_V: Tensor
    ) -> tuple[dict[bool, Tensor], dict[str, Tensor]]:
        """Return what trunk and parts each say of every item, before any mix.

        Returns
        -------
        dict of bool to Tensor
            score_BV of the trunk, by whether what it cannot place stands in its class.
        dict of str to Tensor
            score_BV of each part.
        """
        parts = {name: cast(Part, part) for name, part in self.parts.items()}
        trunk = {False: unit_BD @ unit_VD.T}
        if "demand" in parts:
            standing_VD = cast(Demand, parts["demand"]).stand_in(unit_VD, placed_V)
            trunk[True] = unit_BD @ standing_VD.T
        said = {name: part.investor(had_BV) @ part.item().T for name, part in parts.items()}
        return trunk, said

    def item(self, unit_VD: Tensor, placed_V: Tensor) -> Tensor:
        """Return the trunk's unit vectors with the parts behind them.

        A last number, to which no investor answers, gives all the same length.
        """
        counted = self._counted()
        if not counted:
            return unit_VD
        if self.places_all:
            unit_VD = cast(Demand, self.parts["demand"]).stand_in(unit_VD, placed_V)
        long_VR = torch.cat([unit_VD, *(part.item() for _, part in counted)], 1)
        square_V1 = (long_VR**2).sum(1, keepdim=True)
        rest_V1 = (square_V1.max() - square_V1).clamp(min=0.0).sqrt()
        return functional.normalize(torch.cat([long_VR, rest_V1], 1), dim=1)

    @property
    def places_all(self) -> bool:
        """Tell whether items that the trunk cannot place are ranked too."""
        return any(self.mix.get(name, 0.0) > 0 for name in ("demand", "trend"))

    def _counted(self) -> list[tuple[float, Part]]:
        return [
            (mix, cast(Part, part))
            for mix, part in zip(self.mix_P.tolist(), self.parts.values(), strict=True)
            if mix
        ]
