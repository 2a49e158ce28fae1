"""What each level of a code says of a vector: how much is left over, and which neighbours it keeps.

Measured from vectors and codes alone, by the mean of the items of a codeword, so that it means the
same for every quantizer.

Legend: N items, D vector width, L levels, K codewords, Q items asked for, M neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tessera.contracts.arrays import Float64s, Ints

NEIGHBOURS = 20
"""How many are looked at, as in TopoTok (arXiv 2607.18600)."""
_BLOCK = 64
_ASKED = 500
"""Items whose neighbours are looked at; of more, so many at even steps."""


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


def neighbours_kept(
    vector_ND: Float64s, known_ND: Float64s, most: int = NEIGHBOURS
) -> float | None:
    """Share of the nearest items that are still the nearest by what a code says.

    Items of one code are equally near: where only some of them fit among the nearest, each counts
    by the chance that a random choice would take it.

    Parameters
    ----------
    vector_ND : Float64s
        Vectors.
    known_ND : Float64s
        What they are known as.
    most : int
        Neighbours of an item that are looked at; fewer in a catalogue that has not so many.

    Returns
    -------
    float or None
        None if there is but one item.

    The nearest of three items, where a code puts the first two in one place:

    >>> vector_ND = np.array([[0.0], [1.0], [3.0]])
    >>> neighbours_kept(vector_ND, np.array([[0.5], [0.5], [3.0]]), 1)
    0.8333333333333334
    """
    items = len(vector_ND)
    most = min(most, items - 1)
    if most < 1:
        return None
    step = max(items / _ASKED, 1.0)
    asked_Q = np.unique((np.arange(min(items, _ASKED)) * step).astype(np.int64))
    total = 0.0
    for start in range(0, len(asked_Q), _BLOCK):
        some_Q = asked_Q[start : start + _BLOCK]
        gap_QN, known_QN = _gaps(vector_ND, some_Q), _gaps(known_ND, some_Q)
        near_QM = np.argsort(gap_QN, axis=1, kind="stable")[:, :most]
        total += float(_kept(known_QN, near_QM).sum())
    return total / len(asked_Q)


def _gaps(vector_ND: Float64s, asked_Q: Ints) -> Float64s:
    """Squared distances [Q, N], infinite of an item to itself; rounded, so that ties are ties."""
    square_N = np.sum(vector_ND**2, axis=1)
    gap_QN = square_N[asked_Q, None] + square_N - 2.0 * vector_ND[asked_Q] @ vector_ND.T
    gap_QN = np.round(gap_QN, 9)
    gap_QN[np.arange(len(asked_Q)), asked_Q] = np.inf
    return np.asarray(gap_QN)


def _kept(known_QN: Float64s, near_QM: Ints) -> Float64s:
    """Share of the near ones that are among as many by what a code says; ties by their chance."""
    most = near_QM.shape[1]
    edge_Q1 = np.partition(known_QN, most - 1, axis=1)[:, most - 1 : most]
    inside_QN, tied_QN = known_QN < edge_Q1, known_QN == edge_Q1
    chance_Q = (most - inside_QN.sum(axis=1)) / tied_QN.sum(axis=1)
    sure_Q = np.take_along_axis(inside_QN, near_QM, axis=1).sum(axis=1)
    open_Q = np.take_along_axis(tied_QN, near_QM, axis=1).sum(axis=1)
    return np.asarray((sure_Q + chance_Q * open_Q) / most)
