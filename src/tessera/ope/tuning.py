"""SWITCH-DR with the largest weight it trusts chosen by the data instead of by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tessera.ope.bounds import normal
from tessera.ope.estimators import Log, switch_dr


def choose_ceiling(log: Log, ceilings: Sequence[float], alpha: float) -> float:
    """Choose the ceiling of `switch_dr` by SLOPE: as low as the others do not contradict.

    Ceilings are tried from the highest, which has the least bias and the most spread.  The last
    one is taken whose interval V_i +- 2 CNF_i still shares a point with those of all before it
    (Su, Srinath, Krishnamurthy, arXiv 2002.07729, section 3).  CNF_i is the reach of a normal bound
    at alpha instead of their concentration inequality: narrower, and right for many units only.
    What is chosen may be biased by as much as these intervals are wide, and no interval around it
    knows: an estimate to look at, never one to bound.

    Parameters
    ----------
    log : Log
        The exposures that the estimate will be made from.
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
        found = normal(switch_dr(log, ceiling), alpha)
        reach = 2 * (found.upper - found.mean)
        lower, upper = max(lower, found.mean - reach), min(upper, found.mean + reach)
        if lower > upper:
            break
        chosen = ceiling
    return chosen
