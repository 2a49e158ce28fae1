"""How many codewords are left when vectors tremble: crowded ones swap items, however evenly used.

Expected codeword overlap and effective capacity are named in DRQ (arXiv 2606.01844); the closed
form for Gaussian noise is ours.  Entropy of use (perplexity) knows nothing of distances, so it
calls a codebook healthy whose codewords lie within the noise of each other.

Legend: N items, D vector width, L levels, K codewords, R codewords looked at, B a block of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import erfc

from tessera.contracts.arrays import Float64s, Ints

_LOOKED = 2048
"""Codewords that are compared with all others; of more, so many are taken at even steps."""
_BLOCK = 256
"""Of these, so many are compared at once, and fewer of more than 16,384: memory stays the same."""
_CELLS = _BLOCK * 16_384
_HALF = 0.5
"""Share of the items that have another code at the noise margin."""
_STEPS = 14
_WIDEST = 8.0
"""Noise, in spreads, beyond which no margin is looked for."""


@dataclass(frozen=True, slots=True)
class NoisyUse:
    """How well codewords are told apart under noise."""

    overlap: float
    """Chance that two random items cannot be told apart by their codewords."""
    capacity: float
    """How many far-apart, evenly used codewords would overlap as much: 1 / overlap."""
    distribution: float
    """What is left of the codewords because use is uneven: 1 / sum p^2, the inverse Simpson index.
    """
    geometry: float
    """What is left of that because codewords are near each other: capacity / distribution."""


def overlap_under_noise(codeword_KD: Float64s, count_K: Ints, noise: float) -> NoisyUse:
    """Say how far codewords overlap if vectors tremble by Gaussian noise.

    Parameters
    ----------
    codeword_KD : Float64s
        Where each codeword lies.
    count_K : Ints
        Items of each.
    noise : float
        Standard deviation of a vector in any one direction, in the units of the codewords.

    Returns
    -------
    NoisyUse
        With `o_kj = 1` if k = j, else `2 Q(|e_k - e_j| / 2s)`, Q the normal tail: the overlap is
        `sum_kj p_k p_j o_kj`.  A level on whose first codeword all items lie has capacity 1.

    Three codewords, one of them far away from two that noise cannot tell apart:

    >>> found = overlap_under_noise(np.array([[0.0], [0.0], [9.0]]), np.array([2, 2, 4]), 0.1)
    >>> round(found.overlap, 4), round(found.distribution, 4), round(found.geometry, 4)
    (0.5, 2.6667, 0.75)
    """
    used_K = np.flatnonzero(count_K > 0)
    if len(used_K) <= 1:
        return NoisyUse(1.0, 1.0, 1.0, 1.0)
    share_K = count_K[used_K] / count_K[used_K].sum()
    row_R, weight_R = _rows(share_K)
    place_KD = codeword_KD[used_K]
    square_K = np.sum(place_KD**2, axis=1)
    others, block = 0.0, min(max(_CELLS // len(used_K), 1), _BLOCK)
    for start in range(0, len(row_R), block):
        row_B = row_R[start : start + block]
        square_BK = square_K[row_B, None] + square_K - 2.0 * place_KD[row_B] @ place_KD.T
        overlap_BK = _overlap(square_BK, noise)
        overlap_BK[np.arange(len(row_B)), row_B] = 0.0
        others += float(weight_R[start : start + block] @ (overlap_BK @ share_K))
    alone = float(np.sum(share_K**2))
    overlap = min(alone + others, 1.0)
    return NoisyUse(overlap, 1.0 / overlap, 1.0 / alone, alone / overlap)


def _rows(share_K: Float64s) -> tuple[Ints, Float64s]:
    """Codewords to look at and what each counts; of many, some at even steps over the items."""
    if len(share_K) <= _LOOKED:
        return np.arange(len(share_K)), share_K
    step_R = (np.arange(_LOOKED) + 0.5) / _LOOKED
    row_R = np.minimum(np.searchsorted(np.cumsum(share_K), step_R), len(share_K) - 1)
    return row_R, np.full(_LOOKED, 1.0 / _LOOKED)


def _overlap(square_BK: Float64s, noise: float) -> Float64s:
    distance_BK = np.sqrt(np.maximum(square_BK, 0.0))
    if noise <= 0.0:
        return np.asarray(distance_BK == 0.0, dtype=np.float64)
    return np.asarray(erfc(distance_BK / (2.0 * noise) / np.sqrt(2.0)))


def spread(vector_ND: Float64s) -> float:
    """Return the standard deviation of vectors in an average direction."""
    return float(np.sqrt(np.mean((vector_ND - vector_ND.mean(axis=0)) ** 2)))


def displacement(vector_ND: Float64s, again_ND: Float64s) -> float:
    """Return the root mean square shift, in an average direction, between two encodings.

    >>> displacement(np.zeros((2, 2)), np.array([[1.0, 0.0], [0.0, 1.0]]))
    0.7071067811865476
    """
    return float(np.sqrt(np.mean((again_ND - vector_ND) ** 2)))


def flip_rates(code_NL: Ints, again_NL: Ints) -> list[float]:
    """Share of items whose code differs at this level or above it, by level; last: any of them.

    >>> flip_rates(np.array([[1, 1], [1, 2], [2, 2], [2, 2]]),
    ...            np.array([[1, 1], [1, 1], [1, 2], [2, 2]]))
    [0.25, 0.5]
    """
    differs_NL = np.logical_or.accumulate(code_NL != again_NL, axis=1)
    return [float(share) for share in differs_NL.mean(axis=0)]


def noise_margin(
    vector_ND: Float64s, encode: Callable[[Float64s], Ints], seed: int
) -> float | None:
    """Noise, in spreads of the vectors, at which half of the items have another code.

    Parameters
    ----------
    vector_ND : Float64s
        Vectors of the items to shake.
    encode : Callable
        Code [N, L] of each vector.
    seed : int
        Of the directions in which vectors are shaken.

    Returns
    -------
    float or None
        Found by halving between a thousandth of a spread and eight, to a tenth of a per cent; None
        if codes stand whatever the noise, or nothing varies.
    """
    scale = spread(vector_ND)
    if scale == 0.0 or len(vector_ND) == 0:
        return None
    towards_ND = np.random.default_rng(seed).standard_normal(vector_ND.shape)
    code_NL = encode(vector_ND)

    def flipped(share: float) -> float:
        return flip_rates(code_NL, encode(vector_ND + share * scale * towards_ND))[-1]

    low, high = np.log(1e-3), np.log(_WIDEST)
    if flipped(_WIDEST) < _HALF:
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if flipped(float(np.exp(middle))) >= _HALF else (middle, high)
    return float(np.exp(high))
