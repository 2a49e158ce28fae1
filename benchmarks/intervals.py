"""Intervals and tests that the gate does not use, to hold its own against.

Shapes: N units, G clusters, B resamples, K hypotheses.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from tessera.contracts.arrays import Float64s, Ints
from tessera.offpolicy.bounds import Interval, normal
from tessera.offpolicy.sequences import Wager, betting_lower

Bytes = npt.NDArray[np.uint8]
_CELLS_AT_ONCE = 250_000


def empirical_bernstein(value_N: Float64s, low: float, high: float, alpha: float) -> Interval:
    """One-sided bounds of a mean of independent units that hold for every n and any skewness.

    mean -+ (sqrt(2 V ln(2/alpha) / n) + 7 R ln(2/alpha) / (3 (n - 1))), V the sample variance and
    R = high - low (Maurer and Pontil, arXiv 0907.3740, theorem 4).

    Parameters
    ----------
    value_N : array
        One value per unit, at least two.
    low, high : float
        Range of the values, known before the data: for weights, from the least propensity.
    alpha : float
        Error rate of each bound.

    Raises
    ------
    ValueError
        If a value lies outside the range: the bounds would not hold.
    """
    if value_N.min() < low or value_N.max() > high:
        message = f"values {value_N.min()} to {value_N.max()} leave the range {low} to {high}"
        raise ValueError(message)
    surprise, spread = np.log(2 / alpha), float(value_N.var(ddof=1))
    mean, n = float(value_N.mean()), len(value_N)
    reach = float(np.sqrt(2 * spread * surprise / n))
    reach += float(7 * (high - low) * surprise / (3 * (n - 1)))
    return Interval(mean, float(np.sqrt(spread / n)), mean - reach, mean + reach)


def redraw(clusters: int, rng: np.random.Generator, resamples: int = 999) -> Bytes:
    """Redraw whole clusters with replacement; one redraw serves every estimator of a log.

    Returns
    -------
    array BG of bytes
        How often each resample takes each cluster.
    """
    times_BG = np.empty((resamples, clusters), dtype=np.uint8)
    for times_G in times_BG:
        times_G[:] = np.bincount(rng.integers(0, clusters, clusters), minlength=clusters)
    return times_BG


def bca(value_N: Float64s, cluster_N: Ints, times_BG: Bytes, alpha: float) -> Interval:
    """One-sided bootstrap bounds of a mean, corrected for bias and skewness.

    Efron, "Better bootstrap confidence intervals", 1987.  `scipy.stats.bootstrap` finds the same
    but leaves one cluster out in G^2 steps, which a mean does not need.

    Parameters
    ----------
    value_N : array
        One value per unit; the estimate is their mean.
    cluster_N : array of int
        Cluster of each unit, 0 to G - 1, at least two clusters; `arange` for independent units.
    times_BG : array of bytes
        From `redraw`.
    alpha : float
        Error rate of each bound.
    """
    size_G = np.bincount(cluster_N)
    sum_G: Float64s = np.bincount(cluster_N, weights=value_N).astype(np.float64)
    mean = float(sum_G.sum() / len(value_N))
    mean_B = _redrawn_means(sum_G, size_G, times_BG)
    without_G = (sum_G.sum() - sum_G) / (len(value_N) - size_G)
    push_G = without_G.mean() - without_G
    squares = float(push_G @ push_G)
    skew = float((push_G**3).sum()) / (6 * squares**1.5) if squares > 0 else 0.0
    below = float((np.mean(mean_B < mean) + np.mean(mean_B <= mean)) / 2)
    least = 0.5 / len(mean_B)
    shift = NormalDist().inv_cdf(min(max(below, least), 1 - least))

    def bound(level: float) -> float:
        z = shift + NormalDist().inv_cdf(level)
        return float(np.quantile(mean_B, NormalDist().cdf(shift + z / (1 - skew * z))))

    return Interval(mean, float(mean_B.std(ddof=1)), bound(alpha), bound(1 - alpha))


def _redrawn_means(sum_G: Float64s, size_G: Ints, times_BG: Bytes) -> Float64s:
    both_G2 = np.column_stack([sum_G, size_G])
    rows = max(1, _CELLS_AT_ONCE // len(sum_G))
    parts = [times_BG[i : i + rows].astype(float) @ both_G2 for i in range(0, len(times_BG), rows)]
    total_B2 = np.concatenate(parts)
    return np.asarray(total_B2[:, 0] / total_B2[:, 1])


def betting_interval(value_N: Float64s, rest_N: Float64s, floor: float, alpha: float) -> Interval:
    """Bounds of a value in [0, 1], as they stand after the last unit.

    Parameters
    ----------
    value_N, rest_N : array
        Unbiased for the value and for 1 - value, unbounded above; the upper bound is the lower
        bound of the rest turned round, so that no heavy tail is cut.
    floor : float
        Positive, known before the data; neither is ever below `-floor`.
    alpha : float
        Error rate of each bound.
    """
    lower, rest = (betting_lower([Wager(one_N, floor)], 1.0, alpha) for one_N in (value_N, rest_N))
    upper = 1.0 - rest
    return Interval(float(value_N.mean()), normal(value_N, alpha).stderr, lower, upper)


def holm(p_K: Float64s, alpha: float) -> npt.NDArray[np.bool_]:
    """Reject hypotheses so that the chance of one false rejection is at most alpha.

    The smallest p-value is held against alpha / K, the next against alpha / (K - 1), until one
    fails (Holm, "A simple sequentially rejective multiple test procedure", 1979).  Right whatever
    the dependence; with anytime-valid p-values right at every look at once.

    >>> holm(np.array([0.001, 0.04, 0.02]), 0.05)
    array([ True,  True,  True])
    """
    order_K = np.argsort(p_K, kind="stable")
    passed_K = p_K[order_K] <= alpha / np.arange(len(p_K), 0, -1)
    rejected_K = np.zeros(len(p_K), dtype=bool)
    rejected_K[order_K] = np.logical_and.accumulate(passed_K)
    return rejected_K
