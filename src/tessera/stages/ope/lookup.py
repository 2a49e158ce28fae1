"""What the features and the suitability rule need to know of items and users.

Shapes: I items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ibis import Table

from tessera.contracts.arrays import Ints
from tessera.offpolicy.requests import NOBODY
from tessera.shared.policies.suitability import PRUDENT, UNKNOWN, Unknown
from tessera.stages.ope.exposures import classes, indices


@dataclass(frozen=True, slots=True)
class Lookup:
    """Items sorted by id, with one slot behind the last that index NOBODY reads."""

    item_ids: pa.Array
    user_ids: pa.Array
    risk_I: Ints
    category_I: Ints
    unknown: Unknown = PRUDENT
    """What an unknown risk class counts as."""


def read_lookup(items: Table, users: Table, unknown: Unknown = PRUDENT) -> Lookup:
    """Read ids, risk classes and categories; a null category is one of its own."""
    rows = items.order_by("item_id").to_pyarrow().combine_chunks()
    category = pc.fill_null(rows["category"], "").combine_chunks()
    category_I = indices(category, pc.unique(category).sort())
    known = users.select("user_id").distinct().order_by("user_id").to_pyarrow()
    return Lookup(
        item_ids=rows["item_id"].combine_chunks(),
        user_ids=known["user_id"].combine_chunks(),
        risk_I=np.append(classes(rows["risk_class"]), UNKNOWN),
        category_I=np.append(category_I, category_I.max(initial=NOBODY) + 1),
        unknown=unknown,
    )


def prefix_clusters(codes: pa.Table, item_ids: pa.Array, levels: int = 1) -> Ints:
    """Put items whose codes begin with the same codewords into one cluster.

    Parameters
    ----------
    codes : Table
        As in the contract.
    item_ids : array
        Items to be put.
    levels : int
        How many codewords must be the same.

    Returns
    -------
    array
        Cluster of each item, and one slot more that index NOBODY reads.  An item without a code is
        a cluster of its own.
    """
    prefixes = [tuple(code[:levels]) for code in codes["code"].to_pylist()]
    known = {prefix: number for number, prefix in enumerate(sorted(set(prefixes)))}
    cluster_R = np.array([*(known[prefix] for prefix in prefixes), NOBODY])
    cluster_I = cluster_R[indices(item_ids, codes["item_id"].combine_chunks())]
    alone_I = cluster_I == NOBODY
    cluster_I[alone_I] = len(known) + np.arange(alone_I.sum())
    return np.append(cluster_I, NOBODY)
