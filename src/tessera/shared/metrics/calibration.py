"""Whether a predicted probability means what it says.  Shapes: N predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tessera.contracts import arrays
from tessera.contracts.arrays import Float64s


def brier(probability_N: Float64s, outcome_N: Float64s) -> float:
    """Mean squared distance of probability and outcome (0 or 1); 0 is perfect.

    >>> brier(np.array([1.0, 0.5]), np.array([1.0, 0.0]))
    0.125
    """
    _check(probability_N, outcome_N)
    return float(np.square(probability_N - outcome_N).mean())


def expected_calibration_error(
    probability_N: Float64s, outcome_N: Float64s, *, bins: int = 10
) -> float:
    """Mean gap of predicted and observed rate over bins of equal width, weighted by their size.

    >>> expected_calibration_error(np.array([0.5, 0.5, 0.5, 0.5]), np.array([1.0, 1, 1, 0]))
    0.25
    """
    _check(probability_N, outcome_N)
    bin_N = np.minimum((probability_N * bins).astype(np.int64), bins - 1)
    return _mean_gap(probability_N - outcome_N, bin_N)


def equal_mass_calibration_error(
    probability_N: Float64s, outcome_N: Float64s, *, bins: int = 10
) -> float:
    """Return the same over bins of equally many predictions; equal ones share a bin.

    Where outcomes are rare nearly all predictions fall into one bin of equal width, in which those
    that are too high make up for those that are too low.  Nixon et al. 2019, arXiv 1904.01685.

    >>> equal_mass_calibration_error(np.array([0.25, 0.5]), np.array([0.0, 1.0]), bins=2)
    0.375
    """
    _check(probability_N, outcome_N)
    edge_B = np.quantile(probability_N, np.arange(1, bins) / bins)
    return _mean_gap(probability_N - outcome_N, np.searchsorted(edge_B, probability_N, "right"))


def _check(probability_N: Float64s, outcome_N: Float64s) -> None:
    arrays.check(probability_N=probability_N, outcome_N=outcome_N)
    if len(probability_N) == 0:
        raise ValueError("probability_N is empty: there is nothing to measure")
    if probability_N.min() < 0 or probability_N.max() > 1:
        raise ValueError("probability_N must lie in [0, 1]: give chances, not scores")


def _mean_gap(gap_N: Float64s, bin_N: NDArray[np.int64]) -> float:
    return float(np.abs(np.bincount(bin_N, weights=gap_N)).sum() / len(gap_N))
