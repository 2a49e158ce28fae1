"""How sure we are: fixed-n intervals for the panel, an anytime-valid bound for the promotion.

A fixed-n interval holds for one look.  The confidence sequence holds at every moment at once, so
a pipeline may look at it every day.  Normal bounds are too low above rare rewards and large
weights; `skew_corrected` mends that in closed form, `bca` by resampling, and `empirical_bernstein`
needs no normality at all.

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


def confidence_sequence(
    excess_N: Floats, floor: float, alpha: float, tuned_for: float | None = None
) -> Floats:
    """Anytime-valid lower bound of the mean of `excess` after each unit, in time order.

    Predictable plug-in empirical Bernstein for variables bounded below only, Waudby-Smith, Wu,
    Ramdas, Karampatziakis, Mineiro, arXiv 2210.10768, with X = (excess + floor) / floor:

        L_t = (sum l_i X_i - ln(1/alpha) - sum (X_i - m_{i-1})^2 psi(l_i)) / sum l_i
        psi(l) = -ln(1 - l) - l,   l_i = min(sqrt(2 ln(1/alpha) / (s2_{i-1} i ln(1 + i))), 1/2)

    Any predictable bets l_i are right for any alpha, and while they stay the bound rises with
    alpha.  Whoever holds one sequence to several levels, as Holm does, needs that: with bets made
    anew for each level, the bound may lie above 0 at one and below 0 at a looser one.

    Parameters
    ----------
    excess_N : array
        Unbounded above; never below `-floor`.
    floor : float
        Positive, known before the data.
    alpha : float
        Chance that the bound is ever above the mean.
    tuned_for : float, optional
        Level in place of alpha in the bets; alpha if there is none.

    Returns
    -------
    array N
        Running maximum of the bound; -floor where nothing is known yet.

    Raises
    ------
    ValueError
        If a value lies below `-floor`: the bound would not hold.
    """
    x_N = _scaled(excess_N, floor)
    bet_N, cost_N = _bets(x_N, alpha if tuned_for is None else tuned_for)
    np.subtract(bet_N * x_N, cost_N, out=cost_N)
    lower_N = np.cumsum(cost_N, out=cost_N)
    lower_N -= np.log(1 / alpha)
    lower_N /= np.cumsum(bet_N, out=bet_N)
    lower_N -= 1.0
    lower_N *= floor
    return np.maximum(np.maximum.accumulate(lower_N, out=lower_N), -floor, out=lower_N)


def sequence_interval(value_N: Floats, rest_N: Floats, floor: float, alpha: float) -> Interval:
    """Bounds of a value in [0, 1] by confidence sequences, as they stand after the last unit.

    Parameters
    ----------
    value_N, rest_N : array
        Unbiased for the value and for 1 - value, unbounded above, in time order; the upper bound is
        the lower bound of the rest turned round, so that no heavy tail is cut.
    floor : float
        Positive, known before the data; neither is ever below `-floor`.
    alpha : float
        Error rate of each bound.
    """
    lower = float(confidence_sequence(value_N, floor, alpha)[-1])
    upper = 1.0 - float(confidence_sequence(rest_N, floor, alpha)[-1])
    return Interval(float(value_N.mean()), normal(value_N, alpha).stderr, lower, upper)


def sequence_p_values(excess_N: Floats, floor: float, alpha: float) -> Floats:
    """Anytime-valid p-value of "the mean of `excess` is at most 0" after each unit.

    Running minimum of exp(-(sum l_i (X_i - 1) - sum (X_i - m_{i-1})^2 psi(l_i))), with the bets
    that `confidence_sequence` makes for alpha: it falls to alpha when that bound rises above 0,
    and may be held against any other level too.  Arguments and errors as there.
    """
    x_N = _scaled(excess_N, floor)
    bet_N, cost_N = _bets(x_N, alpha)
    surprise_N = np.maximum.accumulate(np.cumsum(bet_N * (x_N - 1.0) - cost_N))
    return np.exp(-np.maximum(surprise_N, 0.0))


def _scaled(excess_N: Floats, floor: float) -> Floats:
    x_N = 1.0 + excess_N / floor
    if len(x_N) and x_N.min() < -1e-9:
        message = f"excess {excess_N.min()} lies below -{floor}: the sequence would not be valid"
        raise ValueError(message)
    return x_N


def _bets(x_N: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Return l_i and (X_i - m_{i-1})^2 psi(l_i), in place: logs are long."""
    count_N = np.arange(1.0, len(x_N) + 1.0)
    square_N = np.minimum(_mean_before(x_N, count_N, 1.0), 1.0)
    np.subtract(x_N, square_N, out=square_N)
    square_N *= square_N
    bet_N = _mean_before(square_N, count_N, 0.25)
    bet_N *= count_N
    bet_N *= np.log1p(count_N)
    np.divide(2 * np.log(1 / alpha), bet_N, out=bet_N)
    np.minimum(np.sqrt(bet_N, out=bet_N), 0.5, out=bet_N)
    cost_N = np.log1p(-bet_N)
    cost_N += bet_N
    cost_N *= square_N
    return bet_N, np.negative(cost_N, out=cost_N)


def _mean_before(value_N: Floats, count_N: Floats, first: float) -> Floats:
    """Mean of `first` and all values before each unit."""
    mean_N = np.empty_like(value_N)
    mean_N[:1] = 0.0
    np.cumsum(value_N[:-1], out=mean_N[1:])
    mean_N += first
    mean_N /= count_N
    return mean_N
