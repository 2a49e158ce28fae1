"""Rows of tables as numbers: pairs of investor and item, matrices of them, times.

Shapes: R rows, U users, I items.
"""

from __future__ import annotations

from datetime import datetime

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from tessera.contracts.arrays import Bools, Ints


def fetch(rows: ibis.Table, *columns: str) -> pa.Table:
    """Fetch rows in a fixed order."""
    return rows.order_by(list(columns)).to_pyarrow()


def index_of(values: pa.Array | pa.ChunkedArray, among: pa.Array) -> Ints:
    """Find the position of each value in `among`, -1 if absent."""
    found = pc.index_in(values, value_set=among).fill_null(-1)
    return np.asarray(found, dtype=np.int64)


def numbered(rows: pa.Table, users: pa.Array, items: pa.Array) -> tuple[Ints, Ints, Bools]:
    """Return numbers of users and items of each row, and whether both are known."""
    user_R, item_R = index_of(rows["user_id"], users), index_of(rows["item_id"], items)
    return user_R, item_R, (user_R >= 0) & (item_R >= 0)


def matrix_of(rows: pa.Table, users: pa.Array, items: pa.Array) -> csr_matrix:
    """1 for each (user, item) pair of the rows; pairs of unknown users or items are dropped."""
    user_R, item_R, good_R = numbered(rows, users, items)
    ones_R = np.ones(int(good_R.sum()))
    shape = (len(users), len(items))
    return csr_matrix((ones_R, (user_R[good_R], item_R[good_R])), shape=shape)


def among(user_R: Ints, item_R: Ints, matrix: csr_matrix) -> Bools:
    """Tell which (user, item) pairs stand in the matrix."""
    width, there = matrix.shape[1], matrix.tocoo()
    return np.isin(user_R * width + item_R, there.row.astype(np.int64) * width + there.col)


def moments(column: pa.ChunkedArray) -> NDArray[np.datetime64]:
    """Return times as microseconds UTC, NaT where null."""
    return np.asarray(column.cast(pa.timestamp("us")), dtype="datetime64[us]")


def moment(when: datetime) -> np.datetime64:
    """Return one time as microseconds UTC."""
    return np.datetime64(when.replace(tzinfo=None), "us")
