"""Lloyd's algorithm and residual codes, equal to the byte on every run.

Legend: N items, D vector width, L levels, K codewords of a level, C candidates.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrays import Float64s, Ints
from tessera.shared.codes.geometry import means

_ROWS = 8_192
"""So many vectors are looked at at once: what they need beside themselves is some 16 MB for 256
codewords, and it stays in the cache."""


def kmeans(vector_ND: Float64s, size: int, iterations: int, rng: np.random.Generator) -> Float64s:
    """Lloyd's algorithm from k-means++; a cluster that empties restarts at the worst-served item.

    Written here because a threaded library adds in another order each run, and codes must not.
    """
    centre_KD = _plus_plus(vector_ND, size, rng)
    before_N = np.full(len(vector_ND), -1)
    for _ in range(iterations):
        cluster_N = nearest(vector_ND, centre_KD)
        if np.array_equal(cluster_N, before_N):
            break
        before_N = cluster_N
        centre_KD = _means(vector_ND, cluster_N, centre_KD)
    return centre_KD


def nearest(vector_ND: Float64s, codeword_KD: Float64s) -> Ints:
    """Index of the nearest codeword, the lowest on ties; a part of the vectors at a time."""
    nearest_N = np.empty(len(vector_ND), dtype=np.int64)
    square_K = np.sum(codeword_KD**2, axis=1)
    for begin in range(0, len(vector_ND), _ROWS):
        rows = slice(begin, begin + _ROWS)
        nearest_N[rows] = np.argmin(square_K - 2.0 * vector_ND[rows] @ codeword_KD.T, axis=1)
    return nearest_N


def residual_codes(vector_ND: Float64s, codeword_LKD: Float64s) -> Ints:
    """Nearest codeword of what is left, level by level; of vectors on disk a part at a time."""
    code_NL = np.empty((len(vector_ND), len(codeword_LKD)), dtype=np.int64)
    for begin in range(0, len(vector_ND), _ROWS):
        rows = slice(begin, begin + _ROWS)
        code_NL[rows] = _codes(vector_ND[rows], codeword_LKD)
    return code_NL


def _codes(vector_ND: Float64s, codeword_LKD: Float64s) -> Ints:
    residual_ND = vector_ND.astype(np.float64)
    code_NL = np.empty((len(vector_ND), len(codeword_LKD)), dtype=np.int64)
    for level, codeword_KD in enumerate(codeword_LKD):
        code_NL[:, level] = nearest(residual_ND, codeword_KD)
        residual_ND = residual_ND - codeword_KD[code_NL[:, level]]
    return code_NL


def sum_codewords(code_NL: Ints, codeword_LKD: Float64s) -> Float64s:
    """Sum of the codewords of each code."""
    levels = range(len(codeword_LKD))
    return np.asarray(sum(codeword_LKD[level][code_NL[:, level]] for level in levels))


def _plus_plus(vector_ND: Float64s, size: int, rng: np.random.Generator) -> Float64s:
    """Spread-out first centres: the best of a few draws each (Arthur & Vassilvitskii 2007)."""
    draws = 2 + int(np.log(size))
    square_N = np.sum(vector_ND**2, axis=1)
    chosen = [int(rng.integers(len(vector_ND)))]
    gap_N = _gaps(vector_ND, square_N, np.array(chosen))[:, 0]
    while len(chosen) < size:
        mass_N = np.cumsum(gap_N)  # all 0 if there are fewer distinct vectors than centres
        pick = np.searchsorted(mass_N, rng.random(draws) * mass_N[-1], side="right")
        pick = np.minimum(pick, len(vector_ND) - 1)
        after_NC = np.minimum(gap_N[:, None], _gaps(vector_ND, square_N, pick))
        best = int(np.argmin(after_NC.sum(axis=0)))
        gap_N = after_NC[:, best]
        chosen.append(int(pick[best]))
    return vector_ND[chosen].copy()


def _gaps(vector_ND: Float64s, square_N: Float64s, chosen_C: Ints) -> Float64s:
    """Squared distances [N, C] to some of the vectors."""
    gap_NC = square_N[:, None] + square_N[chosen_C] - 2.0 * vector_ND @ vector_ND[chosen_C].T
    return np.maximum(gap_NC, 0.0)


def _means(vector_ND: Float64s, cluster_N: Ints, centre_KD: Float64s) -> Float64s:
    new_KD, count_K = means(vector_ND, cluster_N, centre_KD)
    empty_K = np.flatnonzero(count_K == 0)
    if len(empty_K):
        gap_N = np.sum((vector_ND - new_KD[cluster_N]) ** 2, axis=1)
        new_KD[empty_K] = vector_ND[np.argsort(-gap_N, kind="stable")[: len(empty_K)]]
    return new_KD
