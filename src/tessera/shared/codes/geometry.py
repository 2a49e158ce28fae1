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
        codeword_KD, count_K = means(rest_ND, code_N, np.zeros((size, rest_ND.shape[1])))
        total_ND = total_ND + codeword_KD[code_N]
        rest_ND = rest_ND - codeword_KD[code_N]
        error = float(np.sum(rest_ND**2)) / whole if whole > 0 else 0.0
        yield Reached(codeword_KD, count_K, total_ND, error, distinct)


def means(vector_ND: Float64s, code_N: Ints, otherwise_KD: Float64s) -> tuple[Float64s, Ints]:
    """Return the mean of the vectors of each codeword, and how many they are.

    Sums are taken in the order of the rows, so equal rows give equal bytes.

    Parameters
    ----------
    vector_ND : Float64s
        Vectors.
    code_N : Ints
        Codeword of each, below K.
    otherwise_KD : Float64s
        What stands for a codeword that no vector has.

    >>> means(np.array([[1.0], [3.0]]), np.array([2, 2]), np.array([[7.0], [8.0], [9.0]]))
    (array([[7.],
           [8.],
           [2.]]), array([0, 0, 2]))
    """
    count_K = np.bincount(code_N, minlength=len(otherwise_KD))
    order_N = np.argsort(code_N, kind="stable")
    start_K = np.cumsum(count_K) - count_K
    full_K = np.flatnonzero(count_K > 0)
    mean_KD = otherwise_KD.copy()
    sums = np.add.reduceat(vector_ND[order_N], start_K[full_K], axis=0)
    mean_KD[full_K] = sums / count_K[full_K, None]
    return mean_KD, count_K
