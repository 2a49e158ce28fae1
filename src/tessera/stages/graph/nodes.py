"""The two tables that leave: edges of every kind, and the topology of each item.

Legend: I items of the catalogue (sorted ids), V items with an event before the cut.
"""

from __future__ import annotations

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from tessera.stages.graph import topology
from tessera.stages.graph.links import Links
from tessera.stages.graph.params import GraphParams

DAMPING = 0.85
"""PageRank: probability of following an edge rather than starting anew; Brin and Page 1998."""
NEIGHBOUR_KINDS = ("co_acquired", "transition")
"""Edges that make two items neighbours; causal effects are summed apart, with their sign."""
_CAUSAL_ALONE = ("false_sign_rate", "low", "high")
"""Columns that say nothing of other edges."""


def edge_table(
    item_ids: NDArray[np.object_],
    by_kind: dict[str, Links],
    declared: list[tuple[str, str, str, float]],
) -> pa.Table:
    """All edges in one table, sorted by kind, source, target."""
    tables = [
        pa.table(
            {
                "source_id": pa.array(item_ids[found.source], pa.string()),
                "target_id": pa.array(item_ids[found.target], pa.string()),
                "kind": pa.repeat(pa.scalar(kind), len(found.source)),
                "weight": pa.array(found.weight, pa.float64()),
                "false_sign_rate": pa.array(found.false_sign, pa.float64(), from_pandas=True),
                "low": pa.array(found.low, pa.float64(), from_pandas=True),
                "high": pa.array(found.high, pa.float64(), from_pandas=True),
                "support": pa.array(found.support, pa.int64()),
            }
        )
        for kind, found in by_kind.items()
    ]
    source, target, kinds, weight = zip(*declared, strict=True) if declared else ([],) * 4
    tables.append(
        pa.table(
            {
                "source_id": pa.array(source, pa.string()),
                "target_id": pa.array(target, pa.string()),
                "kind": pa.array(kinds, pa.string()),
                "weight": pa.array(weight, pa.float64()),
                **{name: pa.nulls(len(source), pa.float64()) for name in _CAUSAL_ALONE},
                "support": pa.array(np.zeros(len(source)), pa.int64()),
            }
        )
    )
    return pa.concat_tables(tables).sort_by(
        [("kind", "ascending"), ("source_id", "ascending"), ("target_id", "ascending")]
    )


def node_table(
    item_ids: NDArray[np.object_],
    seen_I: NDArray[np.bool_],
    by_kind: dict[str, Links],
    effects: ibis.Table,
    params: GraphParams,
) -> pa.Table:
    """Topology of every item; zeros for those without an event before the cut."""
    weight_VV = neighbour_graph(by_kind, seen_I)
    if weight_VV.nnz // 2 <= params.networkx_edges:
        found = topology.by_networkx(weight_VV, DAMPING, params.seed)
    else:
        found = topology.by_scipy(weight_VV, DAMPING, params.seed)
    degree_V = np.diff(weight_VV.indptr).astype(np.float64)
    given_I, received_I = _effect_sums(effects, item_ids)

    def everywhere(value_V: NDArray[np.float64]) -> NDArray[np.float64]:
        value_I = np.zeros(len(seen_I))
        value_I[seen_I] = value_V
        return value_I

    community_I = np.full(len(seen_I), -1)
    community_I[seen_I] = found.community_I
    return pa.table(
        {
            "item_id": pa.array(item_ids, pa.string()),
            "degree": everywhere(degree_V),
            "weighted_degree": everywhere(weight_VV.sum(axis=1)),
            "pagerank": everywhere(found.pagerank_I),
            "core_number": everywhere(found.core_I),
            "clustering": everywhere(found.clustering_I),
            "community": community_I,
            "causal_in": received_I,
            "causal_out": given_I,
            "neighbour_degree": everywhere(topology.neighbour_mean(weight_VV, degree_V)),
            "neighbour_pagerank": everywhere(topology.neighbour_mean(weight_VV, found.pagerank_I)),
            "is_new": ~seen_I,
        }
    )


def neighbour_graph(by_kind: dict[str, Links], seen_I: NDArray[np.bool_]) -> sparse.csr_array:
    """Undirected graph of the seen items: mean of both directions, summed over kinds."""
    n = len(seen_I)
    total_II = sparse.csr_array((n, n))
    for kind in NEIGHBOUR_KINDS:
        found = by_kind[kind]
        once_II = sparse.csr_array((found.weight, (found.source, found.target)), shape=(n, n))
        total_II = total_II + (once_II + once_II.T) / 2.0
    graph_VV = total_II.tocsr()[seen_I][:, seen_I]
    graph_VV.eliminate_zeros()
    graph_VV.sort_indices()
    return graph_VV


def _effect_sums(
    effects: ibis.Table, item_ids: NDArray[np.object_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of effects given and received, over every estimated pair."""
    rows = effects.order_by("cause_id", "effect_id").to_pyarrow()
    known = pa.array(item_ids, pa.string())
    sums = []
    for end in ("cause_id", "effect_id"):
        inside = rows.filter(pc.is_in(rows[end], known))
        index = pc.index_in(inside[end], known).to_numpy()
        sums.append(np.bincount(index, inside["effect"].to_numpy(), minlength=len(item_ids)))
    return sums[0].astype(np.float64), sums[1].astype(np.float64)
