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
    """1 for each value that an item declares [N, V].

    Parameters
    ----------
    value_N : sequence of sequences
        Values of each item, one for each of `LINKS`; None where it declares nothing.

    >>> declared_links([["a", "x"], ["a", None], [None, None]]).toarray()
    array([[1., 1.],
           [1., 0.],
           [0., 0.]])
    """
    named = [[(k, v) for k, v in enumerate(values) if v] for values in value_N]
    number = {value: n for n, value in enumerate(sorted({v for values in named for v in values}))}
    row = np.repeat(np.arange(len(named)), [len(values) for values in named])
    column = np.array([number[value] for values in named for value in values], dtype=np.int64)
    shape = (len(named), len(number))
    return sparse.csr_array((np.ones(len(column)), (row, column)), shape=shape)


def filled(known_NW: Float64s, link_NV: sparse.csr_array) -> Float64s:
    """Put the mean of those linked in the place of rows of NaN; NaN stays where there are none.

    A value that few known items share counts the more.  Items that are not known themselves change
    nothing, so that one that is announced for tomorrow moves no other.

    >>> links = declared_links([["a"], ["b"], ["b"], ["c"]])
    >>> filled(np.array([[2.0], [4.0], [np.nan], [np.nan]]), links)
    array([[ 2.],
           [ 4.],
           [ 4.],
           [nan]])
    """
    seen_N1 = ~np.isnan(known_NW[:, :1])
    count_V1 = link_NV.T @ seen_N1.astype(np.float64)
    mean_VW = (link_NV.T @ np.where(seen_N1, known_NW, 0.0)) / np.maximum(count_V1, 1.0)
    rarity_V1 = np.where(count_V1 > 0, 1.0 / np.maximum(count_V1, 1.0), 0.0)
    weight_N1 = link_NV @ rarity_V1
    around_NW = (link_NV @ (rarity_V1 * mean_VW)) / np.where(weight_N1 > 0, weight_N1, np.nan)
    return np.asarray(np.where(seen_N1, known_NW, around_NW), dtype=np.float64)
