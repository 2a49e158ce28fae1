"""Weights of the graph's item-item edges, which attention adds to its scores.

The graph is a snapshot of the cut: while training, attention sees edges that were learnt from the
whole training period and from the validation period, so that validation figures flatter it.

Legend: V items with padding first, S edges.
"""

from __future__ import annotations

import numpy as np
import torch
from ibis import Table
from torch import Tensor

from tessera.contracts.errors import BadParams
from tessera.model.sequences.catalogue import rows_of
from tessera.shared.features.links import EDGE_KINDS

MOST_ROWS = 4096
"""A dense table of so many rows takes 64 MiB, in every model and twice in a checkpoint."""


def read_edges(edges: Table, vocabulary: list[str]) -> Tensor:
    """Return edge_VV from the earlier item (row) to the later one (column), 0 without an edge.

    Each kind of edge is divided by its largest size, then they are added, causal effects with
    their sign, and the sum is divided by its largest size: no weight exceeds 1.

    Raises
    ------
    BadParams
        If the catalogue is too large for a dense table.
    """
    size = len(vocabulary) + 1
    if size > MOST_ROWS:
        raise BadParams(
            f"hstu.edge_bias needs at most {MOST_ROWS - 1} items, there are {len(vocabulary)}: "
            "set it to false"
        )
    rows = edges.select("source_id", "target_id", "kind", "weight").to_pyarrow()
    source_S, target_S = (
        rows_of(rows[name], vocabulary) + 1 for name in ("source_id", "target_id")
    )
    kind_S, weight_S = np.asarray(rows["kind"].to_pylist()), rows["weight"].to_numpy()
    edge_VV = np.zeros((size, size))
    for kind in EDGE_KINDS:
        is_kind_S = (kind_S == kind) & (source_S > 0) & (target_S > 0)
        largest = np.abs(weight_S[is_kind_S]).max(initial=0.0)
        if largest > 0:
            edge_VV[source_S[is_kind_S], target_S[is_kind_S]] += weight_S[is_kind_S] / largest
    edge_VV /= np.abs(edge_VV).max() or 1.0
    return torch.from_numpy(edge_VV.astype(np.float32))
