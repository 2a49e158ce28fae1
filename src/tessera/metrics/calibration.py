"""Whether a predicted probability means what it says.  Shapes: N predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def brier(probability_N: Floats, outcome_N: Floats) -> float:
    """Mean squared distance of probability and outcome (0 or 1); 0 is perfect.

    >>> brier(np.array([1.0, 0.5]), np.array([1.0, 0.0]))
    0.125
    """
    return float(np.square(probability_N - outcome_N).mean())


def expected_calibration_error(
    probability_N: Floats, outcome_N: Floats, *, bins: int = 10
) -> float:
    """Mean gap of predicted and observed rate over bins of equal width, weighted by their size.

    >>> expected_calibration_error(np.array([0.5, 0.5, 0.5, 0.5]), np.array([1.0, 1, 1, 0]))
    0.25
    """
    bin_N = np.minimum((probability_N * bins).astype(np.int64), bins - 1)
    gap_B = np.bincount(bin_N, weights=probability_N - outcome_N, minlength=bins)
    return float(np.abs(gap_B).sum() / len(probability_N))
