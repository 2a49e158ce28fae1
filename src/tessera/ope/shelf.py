"""What the features and the suitability rule need to know of items and users.

Shapes: I items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ibis import Table

from tessera.ope.exposures import NOBODY, Ints, classes, indices
from tessera.policies.suitability import PRUDENT, UNKNOWN, Unknown


@dataclass(frozen=True, slots=True)
class Shelf:
    """Items sorted by id, with one slot behind the last that index NOBODY reads."""

    item_ids: pa.Array
    user_ids: pa.Array
    risk_I: Ints
    category_I: Ints
    unknown: Unknown = PRUDENT
    """What an unknown risk class counts as."""


def read_shelf(items: Table, users: Table, unknown: Unknown = PRUDENT) -> Shelf:
    """Read ids, risk classes and categories; a null category is one of its own."""
    rows = items.order_by("item_id").to_pyarrow().combine_chunks()
    category = pc.fill_null(rows["category"], "").combine_chunks()
    category_I = indices(category, pc.unique(category).sort())
    known = users.select("user_id").distinct().order_by("user_id").to_pyarrow()
    return Shelf(
        item_ids=rows["item_id"].combine_chunks(),
        user_ids=known["user_id"].combine_chunks(),
        risk_I=np.append(classes(rows["risk_class"]), UNKNOWN),
        category_I=np.append(category_I, category_I.max(initial=NOBODY) + 1),
        unknown=unknown,
    )
