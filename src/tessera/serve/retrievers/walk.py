"""Walks along the edges of a bundle, from what an investor holds and did lately.

Personalised PageRank along edges of all kinds, causal ones too, by their weight, and by way of what
items are declared to share (issuer, sector, links of the source), which leads to items that nobody
has met yet.  It is approximated by pushing: `tessera.shared.push` says how far it may be off.

Legend: I items, R those that walks come to.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow.parquet as pq

from tessera.bundles.walks import DECLARED_FILE, walk_from, walk_graph
from tessera.contracts.arrays import Bools
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.serve.investors import Investor
from tessera.serve.retrieval import Found
from tessera.serve.shelf import Shelf
from tessera.shared.push import Graph


@dataclass(frozen=True, slots=True)
class Walk:
    """Edges to go along; few items of all are on the way."""

    shelf: Shelf
    graph: Graph
    dear: ClassVar[bool] = True
    """Left out where time is short."""

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found | None:
        """Return where walks end most often; None for whoever nothing is known of."""
        rows = self.shelf.rows
        row_R, chance_R = walk_from(self.graph, rows(who.held), rows(who.recent), len(eligible_I))
        if not len(row_R):
            return None
        is_open_R = eligible_I[row_R]
        return Found.best(row_R[is_open_R], chance_R[is_open_R], self.shelf.rank_I, most)


def open_retriever(bundle: Path, shelf: Shelf) -> Walk | None:
    """Read the edges; None if the bundle has none."""
    edges = shelf.edges(bundle)
    if edges is None:
        return None
    with translate_errors(
        BrokenBundle, f"{bundle.name}: its declared links cannot be read", "publish it again"
    ):
        path = bundle / DECLARED_FILE
        told = pq.read_table(path) if path.exists() else None
        return Walk(shelf, walk_graph(edges, told, shelf))
