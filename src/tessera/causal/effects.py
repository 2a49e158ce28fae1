"""Adjusted difference in probability, its standard error, and its shrinkage.

Within a stratum of one trial, among those who do not hold j: n1 hold i; G1 is what these would
acquire by their prognosis, G0 what the others would, G = G0 + G1; a holders and c others acquire j.
If the chance of j follows the prognosis g and holding i adds a constant to it, then (Mantel &
Haenszel's risk difference with the prognosis as offset)

    effect(i, j) = sum (a G0 - c G1) / G  /  sum n1 G0 / G

Legend: N pairs, U investors, I items.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tessera.causal.panel import Trial

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Ordered pairs of items worth an estimate."""

    cause_N: NDArray[np.int64]
    effect_N: NDArray[np.int64]
    support_N: NDArray[np.int64]
    """Investors who acquired the effect in a trial at whose start they held the cause."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Running sums over strata, one entry a pair."""

    difference_N: Floats
    weight_N: Floats
    variance_N: Floats
    """Poisson variance of the difference."""


def supported_pairs(trials: Iterable[Trial], least_support: int, limit: int) -> Pairs:
    """Find the pairs of largest support; ties in order of the items."""
    total: sparse.csr_array | None = None
    for trial in trials:
        both_II = (trial.held_UI.T @ trial.gained_UI).tocsr()
        total = both_II if total is None else total + both_II
    if total is None:
        empty = np.zeros(0, np.int64)
        return Pairs(empty, empty, empty)
    pairs = total.tocoo()
    enough = pairs.data >= least_support
    cause, effect, support = pairs.row[enough], pairs.col[enough], pairs.data[enough]
    kept = np.lexsort((effect, cause, -support))[:limit]
    kept = kept[np.lexsort((effect[kept], cause[kept]))]
    return Pairs(
        cause[kept].astype(np.int64), effect[kept].astype(np.int64), support[kept].astype(np.int64)
    )


def add_trial(sums: Sums, trial: Trial, pairs: Pairs) -> None:
    """Add every stratum of a trial to the sums, in place."""
    order_U = np.argsort(trial.stratum_U, kind="stable")
    bound_S = np.searchsorted(
        trial.stratum_U[order_U], np.arange(trial.stratum_U.max(initial=-1) + 2)
    )
    for first, last in pairwise(bound_S):
        rows = order_U[first:last]
        if trial.held_UI[rows].nnz > 0:
            _add_stratum(sums, trial, rows, pairs)


def _add_stratum(sums: Sums, trial: Trial, rows: NDArray[np.int64], pairs: Pairs) -> None:
    held_UI, gained_UI = trial.held_UI[rows], trial.gained_UI[rows]
    expected_UI = sparse.diags_array(trial.prognosis_U[rows]) @ held_UI
    held_I, expected_I, gained_I = (part.sum(axis=0) for part in (held_UI, expected_UI, gained_UI))
    # Most pairs of a small stratum have no holder of the cause: skip them at once.
    here = np.flatnonzero(held_I[pairs.cause_N] > 0)
    cause, effect = pairs.cause_N[here], pairs.effect_N[here]
    n1_N = held_I[cause] - _at(held_UI.T @ held_UI, cause, effect)
    g1_N = expected_I[cause] - _at(held_UI.T @ expected_UI, cause, effect)
    g0_N = trial.prognosis_U[rows].sum() - expected_I[effect] - g1_N
    a_N = _at(held_UI.T @ gained_UI, cause, effect)
    c_N = gained_I[effect] - a_N
    g_N = np.maximum(g0_N + g1_N, 1e-12)
    share0_N, share1_N = np.maximum(g0_N, 0.0) / g_N, np.maximum(g1_N, 0.0) / g_N
    sums.difference_N[here] += a_N * share0_N - c_N * share1_N
    sums.weight_N[here] += n1_N * share0_N
    sums.variance_N[here] += a_N * share0_N**2 + c_N * share1_N**2


def _at(matrix: sparse.csr_array, row: NDArray[np.int64], col: NDArray[np.int64]) -> Floats:
    """Entries of a sparse matrix at many places, 0 where nothing is stored."""
    table = matrix.tocsr()
    table.sum_duplicates()  # sorts the columns of each row, so the keys ascend
    width = table.shape[1]
    key = np.repeat(np.arange(table.shape[0]) * width, np.diff(table.indptr)) + table.indices
    wanted = row * width + col
    place = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
    if len(key) == 0:
        return np.zeros(len(wanted))
    return np.where(key[place] == wanted, table.data[place], 0.0)


def estimate(sums: Sums) -> tuple[Floats, Floats]:
    """Risk difference and its standard error; infinite where no stratum compares anybody."""
    comparable = sums.weight_N > 1e-9
    weight_N = np.where(comparable, sums.weight_N, 1.0)
    effect_N = np.where(comparable, sums.difference_N / weight_N, 0.0)
    # Without any acquisition the variance is 0; one imagined half acquisition bounds it.
    stderr_N = np.sqrt(np.maximum(sums.variance_N, 0.5)) / weight_N
    return effect_N, np.where(comparable, stderr_N, np.inf)


def shrink(effect_N: Floats, stderr_N: Floats) -> tuple[Floats, Floats]:
    """Pull each effect towards zero by as much as its standard error exceeds the true spread.

    Normal-normal empirical Bayes with prior mean 0; the prior variance is the method-of-moments
    estimate with weights 1/variance.
    """
    finite = np.isfinite(stderr_N)
    if not finite.any():
        return np.zeros_like(effect_N), np.zeros_like(stderr_N)
    precision = stderr_N[finite] ** -2
    excess = np.sum(precision * effect_N[finite] ** 2) - finite.sum()
    prior_variance = max(excess / precision.sum(), 0.0)
    variance_N = np.where(finite, stderr_N, 0.0) ** 2
    total_N = prior_variance + variance_N
    share_N = np.where(finite & (total_N > 0), prior_variance / np.maximum(total_N, 1e-300), 0.0)
    return share_N * effect_N, np.sqrt(np.where(finite, share_N * variance_N, prior_variance))
