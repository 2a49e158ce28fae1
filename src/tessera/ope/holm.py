"""Many candidates, one error rate: step-down within a batch, spent from day to day.

Within a batch (`batch`) the gate steps down over bounds (`levels`); from run to run it spends
(`spending`).  `holm` is the same step-down over p-values.

Shapes: K hypotheses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Level:
    """How sure the bounds of one policy of a batch are."""

    alpha: float
    """Error rate of each bound."""
    tuned_for: float
    """What the bets of its sequences are tuned for: one value for the whole batch."""


def levels(
    lower_at: Callable[[int, Level], float], size: int, alpha: float, needed: float
) -> list[Level]:
    """Find the level that Holm holds each policy of a batch to, by their lower bounds.

    All are held to alpha / K.  Those whose bound lies above what is needed pass and keep that
    level; the others are held to alpha / (K - passed), and so on until nobody more passes.  Where
    the truth is at most what is needed, the chance that any bound at its level lies above it is
    at most alpha: with an anytime-valid bound at every look at once.

    Parameters
    ----------
    lower_at : callable
        Lower bound of a policy, 0 to K - 1, at a level.  It must rise with alpha, or to pass at
        one level would not be to pass at every looser one, which Holm's proof needs.  Hence
        `tuned_for`: `confidence_sequence` rises with alpha only while its bets stay.
    size : int
        K, how many policies share alpha.
    alpha : float
        Error rate of the whole batch.
    needed : float
        What a bound must lie above.
    """
    level_K = [Level(alpha / size, alpha / size)] * size
    waiting = list(range(size))
    while waiting:
        level = Level(alpha / len(waiting), alpha / size)
        for k in waiting:
            level_K[k] = level
        held = [k for k in waiting if not lower_at(k, level) > needed]
        if len(held) == len(waiting):
            break
        waiting = held
    return level_K


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
