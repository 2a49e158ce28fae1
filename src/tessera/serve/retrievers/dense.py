"""The nearest items by exact inner product, for whoever has a vector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tessera.contracts.arrays import Bools
from tessera.serve.investors import Investor
from tessera.serve.retrieval import Found

if TYPE_CHECKING:  # FAISS takes a while, and the policy that wrote the log needs none
    from tessera.bundles.vectors import Search


@dataclass(frozen=True, slots=True)
class Dense:
    """The vectors of a bundle."""

    search: Search
    item_id_I: list[str]

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found | None:
        """Return the nearest; an investor without a vector is left to others."""
        if who.vector_D is None:
            return None
        listed = {self.item_id_I[row] for row in np.flatnonzero(eligible_I)}
        near = self.search.nearest(who.vector_D, len(self.search.ids))
        return [(item, score) for item, score in near if item in listed][:most]


def open_retriever(bundle: Path, items: pa.Table) -> Dense | None:
    """Read the index; None if the bundle has none."""
    if not (bundle / "vectors.faiss").exists():
        return None
    from tessera.bundles.vectors import Search

    return Dense(Search.open(bundle), items["item_id"].to_pylist())
