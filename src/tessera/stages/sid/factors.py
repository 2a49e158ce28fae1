"""Items as who acquires them sees them: factors of the matrix of investors and items.

An item's place is how its column overlaps with the columns of the reference items, the catalogue
that the factors were learnt from, along their leading directions.  For a reference item this is the
truncated SVD; one that comes later is placed in the same space by who shares it with them.

Legend: U investors, N items, R reference items, Z factors.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from tessera.contracts.arrays import Float64s
from tessera.stages.sid.history import History
from tessera.stages.sid.text import leading_directions


def weighted(acquired_UN: sparse.csr_array) -> sparse.csr_array:
    """Columns of length 1; an investor who has everything says little of each.

    >>> weighted(sparse.csr_array(np.array([[1.0, 0, 0], [1, 1, 0]]))).toarray().round(2)
    array([[0.82, 0.  , 0.  ],
           [0.58, 1.  , 0.  ]])
    """
    by_U = 1.0 / np.sqrt(np.maximum(acquired_UN.sum(axis=1), 1.0))
    weight_UN = sparse.diags_array(by_U) @ acquired_UN
    length_N = np.sqrt((weight_UN**2).sum(axis=0))
    by_N = np.divide(1.0, length_N, out=np.zeros_like(length_N), where=length_N > 0)
    return (weight_UN @ sparse.diags_array(by_N)).tocsr()


def learn(acquired_UN: sparse.csr_array, width: int, seed: int) -> Float64s:
    """Leading directions [Z, N]; one that leads nowhere if nobody acquired anything."""
    if acquired_UN.nnz == 0:
        return np.zeros((1, acquired_UN.shape[1]))
    return leading_directions(weighted(acquired_UN), width, seed)


def place(history: History, reference: list[str], direction_ZR: Float64s) -> Float64s:
    """Place [N, Z] of every item, of length 1; NaN for one that nobody acquired."""
    number = {item: k for k, item in enumerate(history.item_ids)}
    column_R = np.array([number.get(item, -1) for item in reference], dtype=np.int64)
    weight_UN = weighted(history.acquired_UN)
    of_UZ = weight_UN[:, column_R[column_R >= 0]] @ direction_ZR.T[column_R >= 0]
    place_NZ = np.asarray(weight_UN.T @ of_UZ)
    length_N = np.linalg.norm(place_NZ, axis=1, keepdims=True)
    found_NZ: Float64s = np.where(length_N > 1e-9, place_NZ / np.maximum(length_N, 1e-9), np.nan)
    return found_NZ
