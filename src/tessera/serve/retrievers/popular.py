"""What most investors bought, for whoever nothing else is known of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tessera.contracts.arrays import Bools, Float64s
from tessera.serve.investors import Investor
from tessera.serve.retrieval import Found


@dataclass(frozen=True, slots=True)
class Popular:
    """How many investors bought each item."""

    item_id_I: list[str]
    popularity_I: Float64s

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found:  # noqa: ARG002
        """Return the most bought, whoever asks; an item of which nothing is known is none."""
        row_C = np.flatnonzero(eligible_I & ~np.isnan(self.popularity_I))
        liked = ((self.item_id_I[row], float(self.popularity_I[row])) for row in row_C)
        return sorted(liked, key=lambda pair: (-pair[1], pair[0]))[:most]


def open_retriever(_bundle: Path, items: pa.Table) -> Popular:
    """Take what the items of the bundle say."""
    popularity_I = items["popularity"].to_numpy().astype(np.float64)
    return Popular(items["item_id"].to_pylist(), popularity_I)
