"""A walk of two steps along the edges of a bundle, from what an investor holds and did lately."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy import sparse

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.serve.investors import Investor
from tessera.serve.retrieval import Found
from tessera.serve.shelf import Shelf

_SECOND = 0.5
"""What an item that two steps lead to counts, beside one that a single step leads to."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Chances to go from each item to each other one; edges of all kinds count by their weight."""

    shelf: Shelf
    step_II: sparse.csr_matrix
    dear: ClassVar[bool] = True
    """Left out where time is short."""

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found | None:
        """Return where the walk ends most often; None for whoever nothing is known of."""
        start_1I = self._start(who)
        first_1I = start_1I @ self.step_II
        reached_1I = (first_1I + _SECOND * (first_1I @ self.step_II)).tocsr()
        if not reached_1I.nnz:
            return None
        is_open_C = eligible_I[reached_1I.indices]
        row_C, score_C = reached_1I.indices[is_open_C], reached_1I.data[is_open_C]
        return Found.best(row_C.astype(np.int64), score_C, self.shelf.rank_I, most)

    def _start(self, who: Investor) -> sparse.csr_matrix:
        """Start half of the walks from what is held, half from what was done lately."""
        parts = [self.shelf.rows(items) for items in (who.held, who.recent)]
        row_N = np.concatenate(parts)
        weight_N = np.concatenate([np.full(len(part), 0.5 / max(len(part), 1)) for part in parts])
        shape = 1, len(self.shelf.ids)
        return sparse.csr_matrix((weight_N, (np.zeros_like(row_N), row_N)), shape)


def open_retriever(bundle: Path, shelf: Shelf) -> Walk | None:
    """Read the edges; None if the bundle has none."""
    path = bundle / "neighbours.parquet"
    if not path.exists():
        return None
    with translate_errors(
        BrokenBundle, f"{bundle.name}: its edges cannot be read", "publish it again"
    ):
        columns = ["source_id", "target_id", "weight"]
        order = [(one, "ascending") for one in columns]
        edges = pq.read_table(path, columns=columns).sort_by(order)
        nowhere = len(shelf.ids)
        ids = pa.array(shelf.ids, pa.string())
        source_E, target_E = (
            pc.fill_null(pc.index_in(edges[name], ids), nowhere).to_numpy().astype(np.int64)
            for name in columns[:2]
        )
        weight_E = edges["weight"].to_numpy().astype(np.float64)
    is_whole_E = np.isfinite(weight_E) & (np.maximum(source_E, target_E) < nowhere)
    ends = source_E[is_whole_E], target_E[is_whole_E]
    return Walk(shelf, _chances(*ends, weight_E[is_whole_E], nowhere))


def _chances(source_E: Ints, target_E: Ints, weight_E: Float64s, items: int) -> sparse.csr_matrix:
    total_I = np.bincount(source_E, weight_E, minlength=items)
    chance_E = weight_E / np.where(total_I > 0, total_I, 1.0)[source_E]
    return sparse.csr_matrix((chance_E, (source_E, target_E)), (items, items))
