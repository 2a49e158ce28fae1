"""Graphs that walks go along: edges between items, and what is declared of them, from tables.

Legend: I items, T things that are declared of items, N both, items first, D declarations.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ibis import Table

from tessera.bundles.edges import Edges, Ids
from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.lookup import rows_of
from tessera.contracts.tables import DECLARED_KINDS
from tessera.shared.push import Graph, Reached, Steps, push

DECLARED_FILE = "declared.parquet"
"""What is declared of items: source_id, target_id, weight."""
RESTART = 0.5
"""Chance that a walk ends at each item, so that two steps count half of one."""
ERROR = 1e-5
"""Mass that may wait at an item, beside the weight of its edges: `make bench-walk` tells what a
smaller one would find and cost."""


def walk_graph(edges: Edges, declared: pa.Table | None, ids: Ids) -> Graph:
    """Return the graph of the items and of all that is declared of them."""
    between = Steps(edges.first_I1, edges.target_E, edges.weight_E)
    through, things = through_declared(declared, ids)
    rank_N = np.append(ids.rank_I, np.arange(things) + len(ids.id_I))
    return Graph.of((between, through), rank_N)


def walk_from(
    graph: Graph, held: Ints, recent: Ints, items: int, error: float = ERROR
) -> tuple[Ints, Float64s]:
    """Start half of the walks from what is held, half from what was done lately.

    Returns the rows of the items that walks come to, and the chance that they end there.
    """
    mass = [np.full(len(part), 0.5 / max(len(part), 1)) for part in (held, recent)]
    reached: Reached = push(
        graph, np.concatenate([held, recent]), np.concatenate(mass), RESTART, error
    )
    is_item_R = reached.row_R < items
    return reached.row_R[is_item_R], reached.chance_R[is_item_R]


def declared(edges: Table) -> Table:
    """Return what is declared of items, where it is declared of two at least: all lead on."""
    told = edges.filter(edges.kind.isin(DECLARED_KINDS))
    shared = told.group_by("target_id").agg(items=told.source_id.nunique())
    shared = shared.filter(shared["items"] > 1)
    kept = told.semi_join(shared, "target_id").select("source_id", "target_id", "weight")
    return kept.order_by(["target_id", "source_id"])


def through_declared(table: pa.Table | None, ids: Ids) -> tuple[Steps, int]:
    """Return steps from items to what is declared of them and back, and how many things these are.

    Things stand behind the items, in the order of their names.  Items a and b of sector s, with
    weight 1/2 each, give the steps a - s, b - s, s - a and s - b.
    """
    items = len(ids.id_I)
    if table is None or not len(table):
        return Steps(np.zeros(items + 1, np.int64), np.zeros(0, np.int64), np.zeros(0)), 0
    table = table.sort_by([("target_id", "ascending"), ("source_id", "ascending")])
    item_D = rows_of(table["source_id"], ids.id_I)
    table, item_D = table.filter(pa.array(item_D >= 0)), item_D[item_D >= 0]
    target = table["target_id"].combine_chunks()
    names = pc.unique(target)  # sorted already
    thing_D = items + pc.index_in(target, names).to_numpy().astype(np.int64)
    weight_D = table["weight"].to_numpy().astype(np.float64)
    source_E, target_E = np.append(item_D, thing_D), np.append(thing_D, item_D)
    rank_E = np.append(thing_D, ids.rank_I[item_D])
    order_E = np.lexsort((rank_E, source_E))
    first_N1 = np.searchsorted(source_E[order_E], np.arange(items + len(names) + 1))
    return Steps(first_N1, target_E[order_E], np.append(weight_D, weight_D)[order_E]), len(names)
