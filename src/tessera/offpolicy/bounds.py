"""How sure we are of a mean at one look: fixed-n intervals, clustered by investor.

What holds at every look at once stands in `sequences`.  Normal bounds are too low above rare
rewards and large weights; `skew_corrected` mends that in closed form.

Shapes: N units, G clusters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from tessera.contracts import arrays
from tessera.contracts.arrays import Float64s, Ints

_STRAIGHT = 1e-6
"""Below this skewness the correction is lost in rounding."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with a lower and an upper bound, each of which holds with 1 - alpha on its own."""

    mean: float
    stderr: float
    lower: float
    upper: float


def normal(value_N: Float64s, alpha: float) -> Interval:
    """One-sided normal bounds of a mean of independent units; alpha is the error rate of each."""
    return clustered_normal(value_N, np.arange(len(value_N)), alpha)


def clustered_normal(value_N: Float64s, cluster_N: Ints, alpha: float) -> Interval:
    """One-sided normal bounds of a mean whose units repeat within clusters (users).

    Parameters
    ----------
    value_N : array
        One value per unit; the estimate is their mean.
    cluster_N : array of int
        Cluster of each unit, 0 to G - 1.
    alpha : float
        Error rate of each bound.

    Three rows of three investors deviate by -1, 0 and 1; of two investors, the first of whom has
    two rows, the sums deviate by -1 and 1, and the bound is wider.

    >>> value_N = np.array([0.0, 1.0, 2.0])
    >>> round(clustered_normal(value_N, np.array([0, 1, 2]), 0.05).lower, 3)
    0.05
    >>> round(clustered_normal(value_N, np.array([0, 0, 1]), 0.05).lower, 3)
    -0.097
    """
    mean, stderr, _ = _moments(value_N, cluster_N)
    reach = NormalDist().inv_cdf(1 - alpha) * stderr
    return Interval(mean, stderr, mean - reach, mean + reach)


def skew_corrected(value_N: Float64s, cluster_N: Ints, alpha: float) -> Interval:
    """One-sided bounds of a mean whose units repeat within clusters, corrected for skewness.

    Bounds of the studentised mean by Hall's monotone transformation ("On the removal of skewness by
    transformation", 1992), with g the skewness of the mean:

        mean - stderr t(z) to mean - stderr t(-z),   t(z) = 3 / g (cbrt(1 + g (z - g / 6)) - 1)

    Arguments as `clustered_normal`; one cluster has no bounds.

    One reward among three investors: the normal bounds are 1 -+ 1.645, the corrected ones lie
    higher, as what a log of rare rewards hides is more of them.

    >>> found = skew_corrected(np.array([0.0, 0.0, 3.0]), np.arange(3), 0.05)
    >>> round(found.lower, 3), round(found.upper, 3)
    (-0.324, 3.425)
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


def _moments(value_N: Float64s, cluster_N: Ints) -> tuple[float, float, float]:
    """Return the mean, its standard error and its skewness, from sums within clusters."""
    _check(value_N, cluster_N)
    mean = float(value_N.mean())
    sum_G = np.bincount(cluster_N, weights=value_N - mean)
    clusters, squares = len(sum_G), float(sum_G @ sum_G)
    small_sample = clusters / max(clusters - 1, 1)
    stderr = float(np.sqrt(small_sample * squares)) / len(value_N)
    root = math.sqrt(squares)
    return mean, stderr, float(((sum_G / root) ** 3).sum()) if root > 0 else 0.0


def _check(value_N: Float64s, cluster_N: Ints) -> None:
    arrays.check(value_N=value_N, cluster_N=cluster_N)
    arrays.whole(cluster_N=cluster_N)
    if len(value_N) == 0:
        raise ValueError("value_N is empty: a mean of nothing has no bounds")
