"""What each level of a code says of a vector, and how much is left over.

Measured from vectors and codes alone, by the mean of the items of a codeword, so that it means the
same for every quantizer.

Legend: N items, D vector width, L levels, K codewords.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tessera.contracts.arrays import Float64s, Ints


@dataclass(frozen=True, slots=True)
class Reached:
    """What vectors are known as after some levels of their codes."""

    codeword_KD: Float64s
    """Mean of what the levels above left over, by codeword; zero where no item has it."""
    count_K: Ints
    vector_ND: Float64s
    """Sum of the codewords up to here."""
    error: float
    """Squared error as a share of the variance of the vectors; 0 if nothing varies."""
    distinct: int
    """Codewords that this level could have used: distinct rests, at most K."""


def reached(vector_ND: Float64s, code_NL: Ints, size: int) -> Iterator[Reached]:
    """Follow vectors down the levels of their codes.

    Parameters
    ----------
    vector_ND : Float64s
        Vectors.
    code_NL : Ints
        Their codes, without suffix, below `size`.
    size : int
        Codewords of a level.

    Yields
    ------
    Reached
        Level after level.

    Three items, of which the first level tells one apart:

    >>> code_NL = np.array([[0, 0], [0, 1], [1, 0]])
    >>> [one.error for one in reached(np.array([[0.0], [2.0], [7.0]]), code_NL, 2)]
    [0.07692307692307693, 0.019230769230769232]
    """
    middle_D = vector_ND.mean(axis=0)
    rest_ND = vector_ND - middle_D
    whole = float(np.sum(rest_ND**2))
    total_ND = np.tile(middle_D, (len(vector_ND), 1))
    for code_N in code_NL.T:
        distinct = min(len(np.unique(np.round(rest_ND, 9), axis=0)), size)
        count_K = np.bincount(code_N, minlength=size)
        codeword_KD = _means(rest_ND, code_N, count_K)
        total_ND = total_ND + codeword_KD[code_N]
        rest_ND = rest_ND - codeword_KD[code_N]
        error = float(np.sum(rest_ND**2)) / whole if whole > 0 else 0.0
        yield Reached(codeword_KD, count_K, total_ND, error, distinct)


def _means(rest_ND: Float64s, code_N: Ints, count_K: Ints) -> Float64s:
    mean_KD = np.zeros((len(count_K), rest_ND.shape[1]))
    order_N = np.argsort(code_N, kind="stable")
    start_K = np.cumsum(count_K) - count_K
    full_K = np.flatnonzero(count_K > 0)
    sums = np.add.reduceat(rest_ND[order_N], start_K[full_K], axis=0)
    mean_KD[full_K] = sums / count_K[full_K, None]
    return mean_KD
