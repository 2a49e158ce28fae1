"""What most investors bought, for whoever nothing else is known of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.serve.investors import Investor
from tessera.serve.retrieval import Found
from tessera.serve.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Popular:
    """How many investors bought each item."""

    rank_I: Ints
    popularity_I: Float64s

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found:  # noqa: ARG002
        """Return the most bought, whoever asks; an item of which nothing is known is none."""
        row_C = np.flatnonzero(eligible_I)
        return Found.best(row_C, self.popularity_I[row_C], self.rank_I, most)


def open_retriever(_bundle: Path, shelf: Shelf) -> Popular:
    """Take what the items of the bundle say."""
    return Popular(shelf.rank_I, shelf.table["popularity"].to_numpy().astype(np.float64))
