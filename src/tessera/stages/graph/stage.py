"""The entry point of `graph`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tessera.contracts.arrow import write_table
from tessera.contracts.progress import progress_bar
from tessera.contracts.split import Split, known, load_split
from tessera.contracts.tables import EDGES, NODES
from tessera.stages.graph import joined
from tessera.stages.graph import links as links_of
from tessera.stages.graph.nodes import edge_table, node_table
from tessera.stages.graph.params import GraphParams


def run(
    *,
    events: ibis.Table,
    items: ibis.Table,
    effects: ibis.Table,
    links: ibis.Table,
    split: Path,
    edges: Path,
    nodes: Path,
    params: GraphParams,
) -> dict[str, float]:
    """Build the item graph from events before the cut and measure where each item stands."""
    periods = load_split(split)
    item_ids = np.sort(items.item_id.to_pyarrow().to_numpy(zero_copy_only=False))
    past = links_of.first_acquisitions(events, item_ids, periods, params)
    by_kind = {}
    with progress_bar("graph", 4) as bar:
        for kind, found in _between(past, events, edges.parent, params):
            by_kind[kind] = found
            bar.advance()
        by_kind["causal"] = links_of.causal(effects, item_ids, params)
        bar.advance()
        topology = node_table(item_ids, _seen(events, periods, item_ids), by_kind, effects, params)
        bar.advance()
    declared = links_of.declared(items) + links_of.linked(links, item_ids, periods)
    between = edge_table(item_ids, by_kind, declared)
    write_table(between, EDGES, edges)
    write_table(topology, NODES, nodes)
    counts = {f"edges_{kind}": float(len(found.source)) for kind, found in by_kind.items()}
    return counts | _summary(topology)


def _between(
    past: links_of.Acquisitions, events: ibis.Table, folder: Path, params: GraphParams
) -> Iterator[tuple[str, links_of.Links]]:
    """Yield what grows with pairs: by matrices in memory, or by joins where the events are."""
    if params.engine == "duckdb":
        yield "co_acquired", links_of.co_acquired(past, params)
        yield "transition", links_of.transitions(past, params)
        return
    with TemporaryDirectory(dir=folder, prefix=".graph-") as spill:
        joins = joined.Joins(events.get_backend(), Path(spill))
        yield "co_acquired", joined.co_acquired(past, joins, params)
        yield "transition", joined.transitions(past, joins, params)


def _seen(events: ibis.Table, periods: Split, item_ids: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Mark the items with any event before the cut."""
    seen = known(events, periods).select("item_id").distinct().to_pyarrow()["item_id"]
    found = pc.is_in(pa.array(item_ids, pa.string()), seen.combine_chunks())
    return np.asarray(found.to_numpy(False), dtype=np.bool_)


def _summary(topology: pa.Table) -> dict[str, float]:
    degree = topology["degree"].to_numpy()
    return {
        "items": float(len(degree)),
        "items_new": float(np.sum(topology["is_new"].to_numpy())),
        "items_alone": float(np.sum(degree == 0)),
        "mean_degree": float(degree.mean()) if len(degree) else 0.0,
        "communities": float(topology["community"].to_numpy().max(initial=-1) + 1),
    }
