"""Category, sector and issuer of items as numbers.

Shapes: A attributes, I items of a bundle in the order of its table.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tessera.contracts.arrays import Ints

ATTRIBUTES = ("category", "sector", "issuer")
UNTOLD = -1
"""Number of what the source does not say; it is like nothing."""


def kinds(items: pa.Table) -> Ints:
    """Return numbers for what the items of a table are, AI.

    >>> told = {"category": ["fund", "bond"], "sector": [None, None], "issuer": ["x", "x"]}
    >>> kinds(pa.table(told)).tolist()
    [[0, 1], [-1, -1], [0, 0]]
    """
    return np.stack([_numbers(items[name]) for name in ATTRIBUTES])


def _numbers(column: pa.ChunkedArray) -> Ints:
    indices = column.cast(pa.string()).combine_chunks().dictionary_encode().indices
    return np.asarray(pc.fill_null(indices, UNTOLD), np.int64)
