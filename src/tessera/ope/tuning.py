"""SWITCH-DR with the largest weight it trusts chosen by the data instead of by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tessera.ope.bounds import Floats, Ints, clustered_normal

CEILINGS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1e9)
"""What is tried; the last trusts every weight."""


def choose_ceiling(
    switched: Callable[[float], Floats], cluster_N: Ints, ceilings: Sequence[float], alpha: float
) -> float:
    """Choose the ceiling of SWITCH-DR by SLOPE: as low as the others do not contradict.

    Ceilings are tried from the highest, which has the least bias and the most spread.  The last
    one is taken whose interval V_i +- 2 CNF_i still shares a point with those of all before it
    (Su, Srinath, Krishnamurthy, arXiv 2002.07729, section 3).  CNF_i is the reach of a normal bound
    at alpha instead of their concentration inequality: narrower, and right for many units only.
    What is chosen may be biased by as much as these intervals are wide, and no interval around it
    knows: an estimate to look at, never one to bound.

    Parameters
    ----------
    switched : callable
        Returns what each unit adds to the estimate at a ceiling.
    cluster_N : array of int
        Cluster of each unit, as in `clustered_normal`.
    ceilings : sequence of float
        Positive, in any order.
    alpha : float
        Error rate of each reach.

    Raises
    ------
    ValueError
        If there is no ceiling to choose from.
    """
    if not ceilings:
        raise ValueError("no ceiling to choose from")
    chosen, lower, upper = max(ceilings), -np.inf, np.inf
    for ceiling in sorted(ceilings, reverse=True):
        found = clustered_normal(switched(ceiling), cluster_N, alpha)
        reach = 2 * (found.upper - found.mean)
        lower, upper = max(lower, found.mean - reach), min(upper, found.mean + reach)
        if lower > upper:
            break
        chosen = ceiling
    return chosen
