"""The estimate that came before: Mantel and Haenszel's risk difference over strata of investors.

Strata are risk x capacity x three bins of activity x two of tenure; what investors of like activity
acquire on average (20 bins) is an offset. One normal prior shrinks it.

Legend: N pairs, U investors, I items.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tessera.contracts.arrays import Float64s
from tessera.stages.causal.pairs import Pairs
from tessera.stages.causal.panel import Trial

_ACTIVITY_BINS, _TENURE_BINS, _PROGNOSIS_BINS = 3, 2, 20


def mantel_haenszel(trials: list[Trial], pairs: Pairs) -> tuple[Float64s, Float64s]:
    """Risk difference of each pair and its standard error."""
    size = trials[0].held_UI.shape[1]
    sums_3II = np.zeros((3, size, size))
    for trial in trials:
        stratum_U, prognosis_U = _strata(trial)
        for stratum in range(stratum_U.max(initial=-1) + 1):
            rows = np.flatnonzero(stratum_U == stratum)
            held_UI = trial.held_UI[rows].toarray()
            gained_UI = trial.gained_UI[rows].toarray()
            sums_3II += _stratum(held_UI, gained_UI, prognosis_U[rows, None])
    difference_N, weight_N, variance_N = sums_3II[:, pairs.cause_N, pairs.effect_N]
    weight_N = np.maximum(weight_N, 1e-9)
    return difference_N / weight_N, np.sqrt(np.maximum(variance_N, 0.5)) / weight_N


def one_normal(effect_N: Float64s, stderr_N: Float64s) -> Float64s:
    """Shrink by one normal prior about zero, its variance by moments weighted by precision."""
    precision_N = stderr_N**-2
    excess = precision_N @ effect_N**2 - len(effect_N)
    variance = max(excess / precision_N.sum(), 0.0)
    shrunk_N: Float64s = effect_N * variance / np.maximum(variance + stderr_N**2, 1e-300)
    return shrunk_N


def _stratum(held_UI: Float64s, gained_UI: Float64s, prognosis_U1: Float64s) -> Float64s:
    """Add up difference, weight and Poisson variance of every pair."""
    free_UI = 1.0 - held_UI
    n1_II = held_UI.T @ free_UI
    g1_II = held_UI.T @ (prognosis_U1 * free_UI)
    g0_II = free_UI.T @ (prognosis_U1 * free_UI)
    share0_II = g0_II / np.maximum(g0_II + g1_II, 1e-12)
    share1_II = g1_II / np.maximum(g0_II + g1_II, 1e-12)
    a_II = held_UI.T @ gained_UI
    c_II = gained_UI.sum(axis=0) - a_II
    return np.stack(
        [
            a_II * share0_II - c_II * share1_II,
            n1_II * share0_II,
            a_II * share0_II**2 + c_II * share1_II**2,
        ]
    )


def _strata(trial: Trial) -> tuple[NDArray[np.int64], Float64s]:
    """Stratum of each investor, -1 outside observation; items that their like acquire."""
    seen_U = trial.observed_U
    classes_UD, activity_U, tenure_U = (
        trial.trait_UD[:, :-2],
        trial.trait_UD[:, -2],
        trial.trait_UD[:, -1],
    )
    cell_UD = np.column_stack(
        [
            classes_UD,
            _bins(activity_U, seen_U, _ACTIVITY_BINS),
            _bins(tenure_U, seen_U, _TENURE_BINS),
        ]
    )
    stratum_U = np.full(len(seen_U), -1)
    stratum_U[seen_U] = np.unique(cell_UD[seen_U], axis=0, return_inverse=True)[1].ravel()
    bin_U = _bins(activity_U, seen_U, _PROGNOSIS_BINS)
    gained_B = np.bincount(bin_U, trial.gained_UI.sum(axis=1) * seen_U, minlength=_PROGNOSIS_BINS)
    mean_B = gained_B / np.maximum(np.bincount(bin_U, seen_U, minlength=_PROGNOSIS_BINS), 1.0)
    return stratum_U, np.where(seen_U, mean_B[bin_U], 0.0)


def _bins(value_U: Float64s, seen_U: NDArray[np.bool_], bins: int) -> NDArray[np.int64]:
    inner = np.quantile(value_U[seen_U], np.linspace(0, 1, bins + 1)[1:-1], method="lower")
    return np.searchsorted(inner, value_U, side="left")
