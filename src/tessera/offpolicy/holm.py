"""Many candidates, one error rate: step-down within a batch, spent from day to day.

Within a batch (`batch`) the gate steps down over its conditions (`levels`), and from run to run it
spends (`spending`).

Shapes: K policies.
"""

from __future__ import annotations

import math
from collections.abc import Callable


def levels(passes: Callable[[int, float], bool], size: int, alpha: float) -> list[float]:
    """Find the error rate that Holm holds each policy of a batch to.

    All are held to alpha / K.  Those that pass keep that level; the others are held to
    alpha / (K - passed), and so on until nobody more passes.  The chance that any policy passes
    whose lift is not what it should be is at most alpha.

    Parameters
    ----------
    passes : callable
        Whether a policy, 0 to K - 1, passes at an error rate.  Who passes at one must pass at every
        looser one, which Holm's proof needs: bounds whose bets do not depend on alpha do.
    size : int
        K, how many policies share alpha.
    alpha : float
        Error rate of the whole batch.
    """
    level_K = [alpha / size] * size
    waiting = list(range(size))
    while waiting:
        level = alpha / len(waiting)
        for k in waiting:
            level_K[k] = level
        held = [k for k in waiting if not passes(k, level)]
        if len(held) == len(waiting):
            break
        waiting = held
    return level_K


def share_of(alpha: float, k: int) -> float:
    """Share of alpha for the k-th candidate of a stream, or the k-th look: alpha 6 / (pi^2 k^2).

    The shares of an endless stream add up to alpha.

    Raises
    ------
    ValueError
        If k is below 1.
    """
    if k < 1:
        raise ValueError(f"candidates count from 1, not from {k}")
    return alpha * 6 / (math.pi**2 * k**2)
