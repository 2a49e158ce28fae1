"""How sure we are of a mean at one look: fixed-n intervals, clustered by investor.

What holds at every look at once stands in `sequences`.  Normal bounds are too low above rare
rewards and large weights; `skew_corrected` mends that in closed form, `bca` by resampling, and
`empirical_bernstein` needs no normality at all.

Shapes: N units, G clusters, B resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_CELLS_AT_ONCE = 250_000
_STRAIGHT = 1e-6
"""Below this skewness the correction is lost in rounding."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with a lower and an upper bound, each of which holds with 1 - alpha on its own."""

    mean: float
    stderr: float
    lower: float
    upper: float


def normal(value_N: Floats, alpha: float) -> Interval:
    """One-sided normal bounds of a mean of independent units; alpha is the error rate of each."""
    return clustered_normal(value_N, np.arange(len(value_N)), alpha)


def clustered_normal(value_N: Floats, cluster_N: Ints, alpha: float) -> Interval:
    """One-sided normal bounds of a mean whose units repeat within clusters (users).

    Parameters
    ----------
    value_N : array
        One value per unit; the estimate is their mean.
    cluster_N : array of int
        Cluster of each unit, 0 to G - 1.
    alpha : float
        Error rate of each bound.
    """
    mean, stderr, _ = _moments(value_N, cluster_N)
    reach = NormalDist().inv_cdf(1 - alpha) * stderr
    return Interval(mean, stderr, mean - reach, mean + reach)


def skew_corrected(value_N: Floats, cluster_N: Ints, alpha: float) -> Interval:
    """One-sided bounds of a mean whose units repeat within clusters, corrected for skewness.

    Bounds of the studentised mean by Hall's monotone transformation ("On the removal of skewness by
    transformation", 1992), with g the skewness of the mean:

        mean - stderr t(z) to mean - stderr t(-z),   t(z) = 3 / g (cbrt(1 + g (z - g / 6)) - 1)

    Arguments as `clustered_normal`; one cluster has no bounds.
    """
    mean, stderr, skewness = _moments(value_N, cluster_N)
    if cluster_N.max() == 0:
        return Interval(mean, np.inf, -np.inf, np.inf)
    z = NormalDist().inv_cdf(1 - alpha)

    def turned(z: float) -> float:
        if abs(skewness) < _STRAIGHT:
            return z
        return float(3 / skewness * (np.cbrt(1 + skewness * (z - skewness / 6)) - 1))

    return Interval(mean, stderr, mean - stderr * turned(z), mean - stderr * turned(-z))


def _moments(value_N: Floats, cluster_N: Ints) -> tuple[float, float, float]:
    """Return the mean, its standard error and its skewness, from sums within clusters."""
    mean = float(value_N.mean())
    sum_G = np.bincount(cluster_N, weights=value_N - mean)
    clusters, squares = len(sum_G), float(sum_G @ sum_G)
    small_sample = clusters / max(clusters - 1, 1)
    stderr = float(np.sqrt(small_sample * squares)) / len(value_N)
    root = math.sqrt(squares)
    return mean, stderr, float(((sum_G / root) ** 3).sum()) if root > 0 else 0.0


def empirical_bernstein(value_N: Floats, low: float, high: float, alpha: float) -> Interval:
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


def bca(value_N: Floats, cluster_N: Ints, times_BG: Bytes, alpha: float) -> Interval:
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
    sum_G: Floats = np.bincount(cluster_N, weights=value_N).astype(np.float64)
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


def _redrawn_means(sum_G: Floats, size_G: Ints, times_BG: Bytes) -> Floats:
    both_G2 = np.column_stack([sum_G, size_G])
    rows = max(1, _CELLS_AT_ONCE // len(sum_G))
    parts = [times_BG[i : i + rows].astype(float) @ both_G2 for i in range(0, len(times_BG), rows)]
    total_B2 = np.concatenate(parts)
    return np.asarray(total_B2[:, 0] / total_B2[:, 1])
