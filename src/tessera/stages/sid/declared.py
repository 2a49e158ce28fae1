"""What the declared links of an item say of it while nobody has acted on it.

Legend: N items, V values of issuer, sector, category and market, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from tessera.contracts.arrays import Float64s

LINKS = ("issuer", "sector", "category", "market_id")


def declared_links(value_N: Sequence[Sequence[str | None]]) -> sparse.csr_array:
    """Weight [N, V] of each value that an item declares: the rarer, the heavier.

    Parameters
    ----------
    value_N : sequence of sequences
        Values of each item, one for each of `LINKS`; None where it declares nothing.

    >>> declared_links([["a", "x"], ["a", None], [None, None]]).toarray()
    array([[0.5, 1. ],
           [0.5, 0. ],
           [0. , 0. ]])
    """
    named = [[(k, v) for k, v in enumerate(values) if v] for values in value_N]
    number = {value: n for n, value in enumerate(sorted({v for values in named for v in values}))}
    row = np.repeat(np.arange(len(named)), [len(values) for values in named])
    column = np.array([number[value] for values in named for value in values], dtype=np.int64)
    size_V = np.maximum(np.bincount(column, minlength=len(number)), 1)
    shape = (len(named), len(number))
    return sparse.csr_array((1.0 / size_V[column], (row, column)), shape=shape)


def filled(known_NW: Float64s, link_NV: sparse.csr_array) -> Float64s:
    """Put the mean of those linked in the place of rows of NaN; NaN stays where there are none.

    >>> filled(np.array([[2.0], [4.0], [np.nan]]), declared_links([["a"], ["b"], ["b"]]))
    array([[2.],
           [4.],
           [4.]])
    """
    seen_N = ~np.isnan(known_NW[:, :1])
    at_NV = (link_NV > 0).astype(np.float64)
    count_V = at_NV.T @ seen_N.astype(np.float64)
    mean_VW = (at_NV.T @ np.where(seen_N, known_NW, 0.0)) / np.maximum(count_V, 1.0)
    weight_N = link_NV @ (count_V > 0).astype(np.float64)
    around_NW = (link_NV @ mean_VW) / np.where(weight_N > 0, weight_N, np.nan)
    return np.asarray(np.where(seen_N, known_NW, around_NW), dtype=np.float64)
