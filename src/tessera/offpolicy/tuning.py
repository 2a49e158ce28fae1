"""SWITCH-DR with the largest weight it trusts chosen by the data instead of by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tessera.contracts.arrays import Float64s, Ints
from tessera.offpolicy.bounds import clustered_normal

CEILINGS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1e9)
"""What is tried; the last trusts every weight."""


def choose_ceiling(
    switched: Callable[[float], Float64s],
    beyond: Callable[[float], float],
    cluster_N: Ints,
    ceilings: Sequence[float],
) -> float:
    """Choose the ceiling of SWITCH-DR: the least squared error if the reward model is useless.

    Minimises stderr^2 + bias^2, where the bias is at most what the policies do beyond the ceiling,
    as rewards lie in [0, 1] (Wang, Agarwal, Dudik, arXiv 1612.01205, automatic tuning).  SLOPE,
    which asks the data for the bias, was tried and left: docs/log.md.

    Parameters
    ----------
    switched : callable
        Returns what each unit adds to the estimate at a ceiling.
    beyond : callable
        Returns how much of what the policies show has a weight above a ceiling, by unit.
    cluster_N : array of int
        Cluster of each unit, as in `clustered_normal`.
    ceilings : sequence of float
        Positive; of equals the highest is taken.

    Raises
    ------
    ValueError
        If there is no ceiling to choose from.
    """
    if not ceilings:
        raise ValueError("no ceiling to choose from")

    def error(ceiling: float) -> float:
        # The error rate moves the bounds alone, which nothing here looks at.
        spread = clustered_normal(switched(ceiling), cluster_N, 0.05).stderr
        return spread**2 + beyond(ceiling) ** 2

    return min(sorted(ceilings, reverse=True), key=error)
