"""How often bounds hold: replications with a seed of their own, added up over processes.

Groups of replications are the same for any number of processes, and so is the table.

Shapes: E estimators, I intervals, 2 sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from benchmarks.ope_world import Floats
from tessera.contracts.progress import progress_bar
from tessera.ope.bounds import Interval
from tessera.ope.verdict import Check

RESAMPLES = 499
"""Of the bootstrap."""
_GROUP = 20

World = TypeVar("World")
Bounded = tuple[float, Sequence[Interval | None]]
"""One estimate with its bounds by each interval; None where the interval makes no sense."""


@dataclass(frozen=True, slots=True)
class Runs:
    """How often, in how many processes, from which seed."""

    replications: int
    processes: int
    seed: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over replications."""

    names: tuple[str, ...]
    """Estimators."""
    held_EI2: Floats
    reach_EI2: Floats
    error_E2: Floats
    """Sums of errors and of their squares."""
    facts: Floats
    """Sums of ESS and of what the pre-checks caught: weights off, ESS, largest share."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.names,
            self.held_EI2 + other.held_EI2,
            self.reach_EI2 + other.reach_EI2,
            self.error_E2 + other.error_E2,
            self.facts + other.facts,
        )


def tallied(found: Mapping[str, Bounded], truth: float, ess: float, checks: list[Check]) -> Tally:
    """Tally one replication.

    Parameters
    ----------
    found : mapping
        Estimates by name, all with the same intervals in the same order.
    truth : float
        What is estimated.
    ess : float
        Effective sample size of the log.
    checks : list
        From `weight_checks`, in its order.
    """
    held, reach, errors = [], [], []
    for mean, intervals in found.values():
        sides_I2 = [
            (np.nan, np.nan) if one is None else (one.lower, one.upper) for one in intervals
        ]
        gap_I2 = (np.array(sides_I2) - truth) * np.array([-1.0, 1.0])
        error = mean - truth
        held.append(np.where(np.isnan(gap_I2), np.nan, gap_I2 >= 0))
        reach.append(gap_I2 + np.array([error, -error]))
        errors.append((error, error**2))
    facts = np.array([ess, *(not check.ok for check in checks)], dtype=float)
    return Tally(tuple(found), np.array(held), np.array(reach), np.array(errors), facts)


def measure(
    worlds: Mapping[str, World],
    look: Callable[[World, np.random.Generator], Tally],
    runs: Runs,
    first: int = 0,
) -> dict[str, Tally]:
    """Add up the replications of each world.

    Parameters
    ----------
    worlds : mapping
        By name of the regime.
    look : callable
        Draws one log and tallies it; of a module, so that a process can import it.
    runs : Runs
        Replication i of the j-th world has the seed (seed, first + j, i).
    first : int
        Sets the seeds of one study apart from those of another.
    """
    begins = range(0, runs.replications, _GROUP)
    totals = {}
    with (
        _workers(runs.processes) as each,
        progress_bar("coverage", len(worlds) * len(begins)) as bar,
    ):
        for number, (name, world) in enumerate(worlds.items(), start=first):
            groups = [
                [(runs.seed, number, i) for i in range(b, min(b + _GROUP, runs.replications))]
                for b in begins
            ]
            total: Tally | None = None
            for tally in each(partial(_add_up, look, world), groups):
                total = tally if total is None else total + tally
                bar.advance()
            assert total is not None
            totals[name] = total
    return totals


def _add_up(
    look: Callable[[World, np.random.Generator], Tally], world: World, seeds: list[tuple[int, ...]]
) -> Tally:
    first, *others = [look(world, np.random.default_rng(seed)) for seed in seeds]
    return sum(others, first)


@contextmanager
def _workers(processes: int) -> Iterator[Callable[..., Any]]:
    """Map over processes; in this one if there is one, so that a profiler sees it."""
    if processes == 1:
        yield map
        return
    with ProcessPoolExecutor(processes) as pool:
        yield pool.map


def tell(total: Tally, intervals: Sequence[str], n: int, truth: float) -> dict[str, Any]:
    """Lay out the means over n replications."""
    ess, off, thin, lone = (round(float(fact), 4) for fact in total.facts / n)
    table = {}
    for name, held_I2, reach_I2, error_2 in zip(
        total.names, total.held_EI2 / n, total.reach_EI2 / n, total.error_E2 / n, strict=True
    ):
        table[name] = {
            "bias": round(float(error_2[0]), 6),
            "rmse": round(float(error_2[1]) ** 0.5, 6),
            **{
                interval: {
                    side: {"coverage": round(float(held), 4), "reach": round(float(reach), 6)}
                    for side, held, reach in zip(("lower", "upper"), held_2, reach_2, strict=True)
                }
                for interval, held_2, reach_2 in zip(intervals, held_I2, reach_I2, strict=True)
                if not np.isnan(held_2).any()
            },
        }
    caught = {"mean_weight_z": off, "ess": thin, "largest_share": lone}
    return {"truth": round(truth, 6), "ess": ess, "refused_by": caught, "estimators": table}
