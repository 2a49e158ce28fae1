"""Many candidates, one error rate: step-down within a batch, spent from day to day.

A run of the pipeline judges one candidate on one primary metric, so the gate itself only spends
(`spending`); `holm` is for whoever judges several on one log, as the study of many looks does.

Shapes: K hypotheses.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tessera.ope.bounds import Floats


def holm(p_K: Floats, alpha: float) -> npt.NDArray[np.bool_]:
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


def spent(alpha: float, k: int) -> float:
    """Share of alpha for the k-th candidate since the last promotion, alpha 6 / (pi^2 k^2).

    The shares of an endless stream of candidates add up to alpha.

    Raises
    ------
    ValueError
        If k is below 1.
    """
    if k < 1:
        raise ValueError(f"candidates count from 1, not from {k}")
    return alpha * 6 / (math.pi**2 * k**2)
