"""Walks along the edges of a bundle, from what an investor holds and did lately.

Personalised PageRank along edges of all kinds, causal ones too, by their weight, and by way of what
items are declared to share (issuer, sector, links of the source), which leads to items that nobody
has met yet.  It is approximated by pushing: `tessera.shared.push` says how far it may be off.

Legend: I items, T things that are declared of items, N both, items first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.bundles.edges import DECLARED_FILE
from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.library_errors import translate_errors
from tessera.contracts.lookup import rows_of
from tessera.serve.investors import Investor
from tessera.serve.retrieval import Found
from tessera.serve.shelf import Shelf
from tessera.shared.push import Graph, Steps, push

RESTART = 0.5
"""Chance that a walk ends at each item, so that two steps count half of one."""
ERROR = 1e-5
"""Mass that may wait at an item, beside the weight of its edges: `make bench-walk` tells what a
smaller one would find and cost."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Edges to go along; few items of all are on the way."""

    shelf: Shelf
    graph: Graph
    error: float = ERROR
    dear: ClassVar[bool] = True
    """Left out where time is short."""

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found | None:
        """Return where walks end most often; None for whoever nothing is known of."""
        reached = push(self.graph, *self._start(who), RESTART, self.error)
        is_item_R = reached.row_R < len(eligible_I)
        row_R, chance_R = reached.row_R[is_item_R], reached.chance_R[is_item_R]
        if not len(row_R):
            return None
        is_open_R = eligible_I[row_R]
        return Found.best(row_R[is_open_R], chance_R[is_open_R], self.shelf.rank_I, most)

    def _start(self, who: Investor) -> tuple[Ints, Float64s]:
        """Start half of the walks from what is held, half from what was done lately."""
        parts = [self.shelf.rows(items) for items in (who.held, who.recent)]
        chances = [np.full(len(part), 0.5 / max(len(part), 1)) for part in parts]
        return np.concatenate(parts), np.concatenate(chances)


def open_retriever(bundle: Path, shelf: Shelf) -> Walk | None:
    """Read the edges; None if the bundle has none."""
    edges = shelf.edges(bundle)
    if edges is None:
        return None
    between = Steps(edges.first_I1, edges.target_E, edges.weight_E)
    with translate_errors(
        BrokenBundle, f"{bundle.name}: its declared links cannot be read", "publish it again"
    ):
        path = bundle / DECLARED_FILE
        through, things = through_declared(pq.read_table(path) if path.exists() else None, shelf)
    rank_N = np.append(shelf.rank_I, np.arange(things) + len(shelf.ids))
    return Walk(shelf, Graph.of((between, through), rank_N))


def through_declared(declared: pa.Table | None, shelf: Shelf) -> tuple[Steps, int]:
    """Return steps from items to what is declared of them and back, and how many things these are.

    Things stand behind the items, in the order of their names.  Items a and b of sector s, with
    weight 1/2 each, give the steps a - s, b - s, s - a and s - b.
    """
    items = len(shelf.ids)
    if declared is None or not len(declared):
        return Steps(np.zeros(items + 1, np.int64), np.zeros(0, np.int64), np.zeros(0)), 0
    declared = declared.sort_by([("target_id", "ascending"), ("source_id", "ascending")])
    item_D = rows_of(declared["source_id"], shelf.id_I)
    declared, item_D = declared.filter(pa.array(item_D >= 0)), item_D[item_D >= 0]
    target = declared["target_id"].combine_chunks()
    names = pc.unique(target)  # sorted already
    thing_D = items + pc.index_in(target, names).to_numpy().astype(np.int64)
    weight_D = declared["weight"].to_numpy().astype(np.float64)
    source_E, target_E = np.append(item_D, thing_D), np.append(thing_D, item_D)
    rank_E = np.append(thing_D, shelf.rank_I[item_D])
    order_E = np.lexsort((rank_E, source_E))
    first_N1 = np.searchsorted(source_E[order_E], np.arange(items + len(names) + 1))
    return Steps(first_N1, target_E[order_E], np.append(weight_D, weight_D)[order_E]), len(names)
