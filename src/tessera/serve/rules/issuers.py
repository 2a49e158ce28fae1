"""At most so many candidates of one issuer, so that no slate shows more of it.

Shapes: I items of a bundle, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tessera.contracts.arrays import Bools, Ints
from tessera.serve.rules.choosing import Listed
from tessera.serve.rules.kinds import UNTOLD


@dataclass(frozen=True, slots=True)
class PerIssuer:
    """A limit on the candidates of each issuer; items of an untold one have none."""

    issuer_I: Ints
    most: int
    name: ClassVar[str] = "issuer"

    def keeps(self, listed: Listed, positions: int) -> Bools:  # noqa: ARG002
        """Keep what exploration needs, then the best."""
        issuer_C = self.issuer_I[listed.row_C]
        order_C = np.lexsort((-listed.score_C, ~listed.explores_C, issuer_C))
        sorted_C = issuer_C[order_C]
        place_C = np.arange(len(order_C)) - np.searchsorted(sorted_C, sorted_C)
        kept_C = np.empty(len(order_C), np.bool_)
        kept_C[order_C] = (place_C < self.most) | (sorted_C == UNTOLD)
        return kept_C
