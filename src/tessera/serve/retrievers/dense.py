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

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found | None:
        """Return the nearest; an investor without a vector is left to others."""
        if who.vector_D is None:
            return None
        listed_N = np.append(eligible_I, np.False_)[self.row_N]
        near_F, score_F = self.search.among(who.vector_D, listed_N, most)
        return Found(self.row_N[near_F], score_F.astype(np.float64))


def open_retriever(bundle: Path, shelf: Shelf) -> Dense | None:
    """Read the index; None if the bundle has none."""
    if not (bundle / "vectors.faiss").exists():
        return None
    from tessera.bundles.vectors import Search

    search, nowhere = Search.open(bundle), len(shelf.ids)
    return Dense(search, np.array([shelf.row.get(item, nowhere) for item in search.ids], np.int64))
