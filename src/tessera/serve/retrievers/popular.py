"""What most investors bought, for whoever nothing else is known of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tessera.contracts.arrays import Bools
from tessera.serve.investors import Investor
from tessera.serve.retrieval import Found, Ordered
from tessera.serve.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Popular:
    """How many investors bought each item."""

    bought: Ordered

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found:  # noqa: ARG002
        """Return the most bought, whoever asks; an item of which nothing is known is none."""
        return self.bought.first(eligible_I, most)


def open_retriever(_bundle: Path, shelf: Shelf) -> Popular:
    """Take what the items of the bundle say."""
    popularity_I = shelf.table["popularity"].to_numpy().astype(np.float64)
    return Popular(Ordered.of(popularity_I, shelf.rank_I))
