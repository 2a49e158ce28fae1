"""Millions of ids as rows, and of numbers as the distinct ones among them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tessera.contracts.arrays import Ints


def rows_of(column: pa.ChunkedArray | pa.Array, values: list[str] | pa.Array) -> Ints:
    """Return the index of each id among the values, -1 if it is unknown.

    Of equal ids that follow each other one is looked up: most tables are sorted.
    """
    known = values if isinstance(values, pa.Array) else pa.array(values, pa.string())
    if not pa.types.is_string(column.type):
        return _looked_up(column, known)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    runs = [pc.run_end_encode(one) for one in chunks]
    row_R = _looked_up(pa.chunked_array([one.values for one in runs], pa.string()), known)
    ends = [np.diff(one.run_ends.to_numpy(), prepend=0) for one in runs]
    return np.repeat(row_R, np.concatenate([np.zeros(0, np.int64), *ends]))


def _looked_up(column: pa.ChunkedArray | pa.Array, known: pa.Array) -> Ints:
    found: Ints = np.asarray(pc.fill_null(pc.index_in(column, known), -1)).astype(np.int64)
    return found


def distinct_of(numbers: Ints) -> Ints:
    """Return the distinct ones, ascending: `numpy.unique` hashes millions, and a sort is faster.

    >>> distinct_of(np.array([3, 1, 3]))
    array([1, 3])
    """
    ordered = np.sort(numbers)
    return np.asarray(ordered[np.diff(ordered, prepend=ordered[:1] - 1) != 0])
