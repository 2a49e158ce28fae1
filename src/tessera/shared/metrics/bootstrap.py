"""How much of a difference could be the luck of who was in the test: bootstrap intervals.

Shapes: N units drawn with replacement, M columns drawn together (hence paired), D draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tessera.contracts import arrays
from tessera.contracts.arrays import Float64s


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its two-sided percentile interval."""

    mean: float
    low: float
    high: float


def resampled_means(values_NM: Float64s, draws: int, rng: np.random.Generator) -> Float64s:
    """Means of the columns over `draws` resamples of the rows; the same rows for all columns.

    Returns
    -------
    Float64s
        DM means.

    Raises
    ------
    ValueError
        If the values are not finite numbers in rows and columns, or there is no row.
    """
    arrays.check(values_NM=values_NM)
    units = len(values_NM)
    if units == 0:
        raise ValueError("values_NM has no rows: there is nothing to draw from")
    means_DM = np.empty((draws, values_NM.shape[1]))
    for draw in range(draws):
        times_N = np.bincount(rng.integers(0, units, units), minlength=units)
        means_DM[draw] = times_N @ values_NM / units
    return means_DM


def percentile_interval(mean: float, draws_D: Float64s, *, level: float = 0.95) -> Interval:
    """Put the percentile interval of the draws around a mean.

    >>> percentile_interval(2.0, np.arange(101.0), level=0.5)
    Interval(mean=2.0, low=25.0, high=75.0)
    """
    arrays.check(draws_D=draws_D)
    if len(draws_D) == 0:
        raise ValueError("draws_D is empty: an interval needs draws")
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(draws_D, (tail, 100 - tail))
    return Interval(float(mean), float(low), float(high))


def mean_interval(
    values_N: Float64s, rng: np.random.Generator, *, draws: int = 1000, level: float = 0.95
) -> Interval:
    """Bootstrap the mean of one column; of a paired difference if given one."""
    draws_D1 = resampled_means(values_N[:, None], draws, rng)
    return percentile_interval(float(values_N.mean()), draws_D1[:, 0], level=level)
