"""How sure we are: a fixed-n interval for the panel, an anytime-valid bound for the promotion.

The fixed-n interval holds for one look.  The confidence sequence holds at every moment at once, so
a pipeline may look at it every day.

Shapes: N units.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with a lower and an upper bound, each of which holds with 1 - alpha on its own."""

    mean: float
    stderr: float
    lower: float
    upper: float


def clustered_normal(value_N: Floats, cluster_N: npt.NDArray[np.int64], alpha: float) -> Interval:
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
    mean = float(value_N.mean())
    sum_G = np.bincount(cluster_N, weights=value_N - mean)
    clusters = len(sum_G)
    small_sample = clusters / max(clusters - 1, 1)
    stderr = float(np.sqrt(small_sample * (sum_G @ sum_G))) / len(value_N)
    reach = NormalDist().inv_cdf(1 - alpha) * stderr
    return Interval(mean, stderr, mean - reach, mean + reach)


def confidence_sequence(excess_N: Floats, floor: float, alpha: float) -> Floats:
    """Anytime-valid lower bound of the mean of `excess` after each unit, in time order.

    Predictable plug-in empirical Bernstein for variables bounded below only, Waudby-Smith, Wu,
    Ramdas, Karampatziakis, Mineiro, arXiv 2210.10768, with X = (excess + floor) / floor:

        L_t = (sum l_i X_i - ln(1/alpha) - sum (X_i - m_{i-1})^2 psi(l_i)) / sum l_i
        psi(l) = -ln(1 - l) - l,   l_i = min(sqrt(2 ln(1/alpha) / (s2_{i-1} i ln(1 + i))), 1/2)

    Parameters
    ----------
    excess_N : array
        Unbounded above; never below `-floor`.
    floor : float
        Positive, known before the data.
    alpha : float
        Chance that the bound is ever above the mean.

    Returns
    -------
    array N
        Running maximum of the bound; -floor where nothing is known yet.

    Raises
    ------
    ValueError
        If a value lies below `-floor`: the bound would not hold.
    """
    x_N = 1.0 + excess_N / floor
    if len(x_N) and x_N.min() < -1e-9:
        message = f"excess {excess_N.min()} lies below -{floor}: the sequence would not be valid"
        raise ValueError(message)
    count_N = np.arange(1, len(x_N) + 1)
    guess_N = _before(np.minimum((1.0 + np.cumsum(x_N)) / (count_N + 1), 1.0), first=1.0)
    square_N = (x_N - guess_N) ** 2
    spread_N = _before((0.25 + np.cumsum(square_N)) / (count_N + 1), first=0.25)
    surprise = np.log(1 / alpha)
    bet_N = np.minimum(np.sqrt(2 * surprise / (spread_N * count_N * np.log1p(count_N))), 0.5)
    cost_N = square_N * (-np.log1p(-bet_N) - bet_N)
    lower_N = (np.cumsum(bet_N * x_N - cost_N) - surprise) / np.cumsum(bet_N)
    return np.maximum(np.maximum.accumulate(floor * (lower_N - 1.0)), -floor)


def _before(running_N: Floats, first: float) -> Floats:
    """Shift by one: what was known before each unit."""
    return np.concatenate([[first], running_N[:-1]])
