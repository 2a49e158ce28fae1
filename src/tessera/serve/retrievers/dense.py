"""The nearest items by inner product, for whoever has a vector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tessera.contracts.arrays import Bools, Ints
from tessera.serve.investors import Investor
from tessera.serve.retrieval import Found
from tessera.serve.shelf import Shelf

if TYPE_CHECKING:  # FAISS takes a while, and the policy that wrote the log needs none
    from tessera.bundles.vectors import Search


@dataclass(frozen=True, slots=True)
class Dense:
    """The vectors of a bundle; N of them."""

    search: Search
    row_N: Ints
    """Row I of each vector, that of no item behind the last one."""
    is_alike: bool
    """Whether vectors and items stand in one order, as the stage writes them."""

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found | None:
        """Return the nearest; an investor without a vector is left to others."""
        if who.vector_D is None:
            return None
        listed_N = eligible_I if self.is_alike else np.append(eligible_I, np.False_)[self.row_N]
        near_F, score_F = self.search.among(who.vector_D, listed_N, most)
        return Found(self.row_N[near_F], score_F.astype(np.float64))


def open_retriever(bundle: Path, shelf: Shelf) -> Dense | None:
    """Read the index; None if the bundle has none."""
    if not (bundle / "vectors.faiss").exists():
        return None
    from tessera.bundles.vectors import Search

    search = Search.open(bundle, shelf.ids)
    row_N = shelf.rows_of(search.ids)
    return Dense(search, np.where(row_N < 0, len(shelf.ids), row_N), search.ids is shelf.ids)
