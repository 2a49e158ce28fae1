"""How many of an item's nearest items its code still has near, by the codewords that are read.

TopoTok, arXiv 2607.18600, reports this share for its own and for other tokenizers.

Legend: N items, M items asked, T nearest, D vector width, L levels.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrays import Float64s, Ints

_TOP = 20
_ASKED = 1_000
"""At most so many items are asked, at even steps."""
_AT_ONCE = 64
"""Of these, so many are compared with all items at once: memory grows with the items alone."""


def neighbours_kept(vector_ND: Float64s, code_NL: Ints) -> list[float]:
    """Mean share of the 20 nearest by vector that are among the 20 nearest by 1, 2, ... codewords.

    The vector of some codewords is the mean of all items that share them, so that every quantizer
    is asked in the same space.  Ties go to the item that comes first.
    """
    asked_M = np.unique(np.linspace(0, len(vector_ND) - 1, min(_ASKED, len(vector_ND))).astype(int))
    top = min(_TOP, len(vector_ND) - 1)
    if top < 1:
        return [1.0] * code_NL.shape[1]
    own_MT = _nearest(vector_ND, asked_M, top)
    shares = []
    for level in range(1, code_NL.shape[1] + 1):
        found_MT = _nearest(_means(vector_ND, code_NL[:, :level]), asked_M, top)
        both = [len(np.intersect1d(a, b)) for a, b in zip(own_MT, found_MT, strict=True)]
        shares.append(float(np.mean(both)) / top)
    return shares


def _means(vector_ND: Float64s, code_NL: Ints) -> Float64s:
    """Mean vector of all that share a code, for each item.

    >>> _means(np.array([[0.0], [2.0], [5.0]]), np.array([[1], [1], [0]])).ravel()
    array([1., 1., 5.])
    """
    shared_N = np.unique(code_NL, axis=0, return_inverse=True)[1].ravel()
    count_C = np.bincount(shared_N)
    total_CD = np.zeros((len(count_C), vector_ND.shape[1]))
    np.add.at(total_CD, shared_N, vector_ND)
    mean_ND: Float64s = (total_CD / count_C[:, None])[shared_N]
    return mean_ND


def _nearest(vector_ND: Float64s, asked_M: Ints, top: int) -> Ints:
    """Nearest other items [M, T]; squared distances are rounded, so that ties stay ties."""
    square_N = np.sum(vector_ND**2, axis=1)
    found_MT = np.empty((len(asked_M), top), dtype=np.int64)
    for begin in range(0, len(asked_M), _AT_ONCE):
        some_M = asked_M[begin : begin + _AT_ONCE]
        gap_MN = np.round(square_N - 2.0 * vector_ND[some_M] @ vector_ND.T, 9)
        gap_MN[np.arange(len(some_M)), some_M] = np.inf
        found_MT[begin : begin + len(some_M)] = np.argsort(gap_MN, axis=1, kind="stable")[:, :top]
    return found_MT
