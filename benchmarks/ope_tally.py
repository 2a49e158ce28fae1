"""How often bounds hold: replications with a seed of their own, added up over groups.

Groups of replications are the same for any number of processes, and so is the table; each group is
kept, so that a killed study goes on where it was.

Shapes: E estimators, I intervals, 2 sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from benchmarks.common import Kept, each, spans
from tessera.contracts.arrays import Float64s
from tessera.offpolicy.bounds import Interval
from tessera.stages.ope.verdict import Check

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
    kept: Kept | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """Sums over replications."""

    names: tuple[str, ...]
    """Estimators."""
    held_EI2: Float64s
    reach_EI2: Float64s
    error_E2: Float64s
    """Sums of errors and of their squares."""
    facts: Float64s
    """Sums of ESS and of what the pre-checks caught: weights off, ESS, largest share."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.names,
            self.held_EI2 + other.held_EI2,
            self.reach_EI2 + other.reach_EI2,
            self.error_E2 + other.error_E2,
            self.facts + other.facts,
        )

    def written(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {"names": self.names, "held": self.held_EI2.tolist(),
                "reach": self.reach_EI2.tolist(), "error": self.error_E2.tolist(),
                "facts": self.facts.tolist()}  # fmt: skip

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> Tally:
        """Return what `written` told."""
        sums = (np.array(found[name]) for name in ("held", "reach", "error", "facts"))
        return cls(tuple(found["names"]), *sums)


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
    groups = spans(runs.replications, _GROUP)
    totals = {}
    for number, (name, world) in enumerate(worlds.items(), start=first):
        pieces = [(number, *group) for group in groups]
        work = partial(_add_up, look, world, runs.seed)
        found = each(work, pieces, name, runs.kept, runs.processes)
        start, *others = [Tally.read(one) for one in found]
        totals[name] = sum(others, start)
    return totals


def _add_up(
    look: Callable[[World, np.random.Generator], Tally],
    world: World,
    seed: int,
    piece: tuple[int, int, int],
) -> dict[str, Any]:
    """Add up the replications of a world from one number to the one before another."""
    number, begin, end = piece
    start, *others = [
        look(world, np.random.default_rng((seed, number, i))) for i in range(begin, end)
    ]
    return sum(others, start).written()


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
