"""Do off-policy bounds hold: one-sided coverage of every estimator and interval on planted truth.

Usage: python -m benchmarks.ope [--replications 1000] [--processes 2] [--seed 0]
Each replication has a seed of its own and they are added up in the same groups, so any number of
processes gives the same table.  Also: errors of the gate under many looks and candidates.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.common import write_result
from benchmarks.ope_looks import ALPHA, looks
from benchmarks.ope_world import CAP, REGIMES, Drawn, Floats, World, make_world, missed
from tessera.contracts.progress import progress_bar
from tessera.ope import bounds, estimators
from tessera.ope.checks import weight_checks
from tessera.ope.clusters import mips, offcem
from tessera.ope.estimators import Log
from tessera.ope.params import OpeParams
from tessera.ope.tuning import CEILINGS, choose_ceiling

INTERVALS = ("normal", "clustered", "hall", "bernstein", "bca", "sequence")
_GROUP = 20
_RESAMPLES = 499
_CEILING, _SHRINKAGE, _SWITCH = 10.0, 100.0, 10.0


@dataclass(frozen=True, slots=True)
class Estimated:
    """One estimate, and what its bounds may lean on."""

    value_N: Floats
    reach: tuple[float, float] | None = None
    """Least and largest value of a unit; None where units do not stand alone (self-normalised)."""
    pair: tuple[Floats, Floats] | None = None
    """What the confidence sequences see: the estimate of the value, and that of what is missed."""
    floor: float = 1.0
    """Neither of the pair is ever below -floor."""


def estimate(drawn: Drawn) -> dict[str, Estimated]:
    """Estimate the value by every estimator."""
    log, most = drawn.log, drawn.known_weight
    rest, clusters = estimators.complement(log), drawn.clusters

    def alone(found: Callable[[Any], Floats], low: float, high: float, floor: float) -> Estimated:
        return Estimated(found(log), (low, high), (found(log), found(rest)), floor)

    def switched(one: Log) -> Floats:
        return estimators.switch_dr(one, _SWITCH)

    def shrunk(one: Log) -> Floats:
        return estimators.dros(one, _SHRINKAGE)

    alone_N = np.arange(len(log.reward_N))
    tuned = choose_ceiling(
        lambda ceiling: estimators.switch_dr(log, ceiling), alone_N, CEILINGS, ALPHA
    )
    cut, cut_rest = (estimators.dr(one) for one in drawn.cut)
    conjunct, marginal_rest = offcem(clusters), mips(missed(clusters))
    return {
        "ips": alone(estimators.ips, 0.0, most, 1.0),
        "clipped": alone(lambda one: estimators.clipped_ips(one, _CEILING), 0.0, _CEILING, 1.0),
        "snips": Estimated(estimators.snips_influence(log)),
        "dm": alone(estimators.dm, 0.0, 1.0, 1.0),
        "dr": Estimated(estimators.dr(log), (-most, most + 1), (cut, cut_rest), CAP),
        "sndr": Estimated(estimators.sndr_influence(log)),
        "switch_dr": alone(switched, -_SWITCH, _SWITCH + 1, _SWITCH),
        "switch_dr_slope": Estimated(estimators.switch_dr(log, tuned)),
        "dros": alone(shrunk, -(_SHRINKAGE**0.5) / 2, _SHRINKAGE**0.5 / 2 + 1, _SHRINKAGE**0.5 / 2),
        "mips": Estimated(mips(clusters), (0.0, most), (mips(clusters), marginal_rest)),
        "offcem": Estimated(conjunct, (-most, most + 1), (conjunct, 1 - conjunct), most + 1),
    }


def bound(one: Estimated, drawn: Drawn, times_BG: bounds.Bytes) -> Iterator[Any]:
    """Give the bounds by each of INTERVALS; None where the interval makes no sense."""
    yield bounds.normal(one.value_N, ALPHA)
    yield bounds.clustered_normal(one.value_N, drawn.user_N, ALPHA)
    yield bounds.skew_corrected(one.value_N, drawn.user_N, ALPHA)
    yield one.reach and bounds.empirical_bernstein(one.value_N, *one.reach, ALPHA)
    yield bounds.bca(one.value_N, drawn.user_N, times_BG, ALPHA)
    yield one.pair and bounds.sequence_interval(*one.pair, one.floor, ALPHA)


@dataclass
class Tally:
    """Sums over replications; E estimators, I intervals, 2 sides."""

    held_EI2: Floats
    reach_EI2: Floats
    error_E2: Floats
    """Sums of errors and of their squares."""
    facts: Floats
    """Sums of ESS and of what the pre-checks caught: weights off, ESS, largest share."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, name) + getattr(other, name) for name in vars(self)))


def replicate(world: World, seeds: list[tuple[int, ...]]) -> Tally:
    """Draw one log from each seed and see which bounds hold."""
    tallies = [_one(world, np.random.default_rng(seed)) for seed in seeds]
    return sum(tallies[1:], tallies[0])


def _one(world: World, rng: np.random.Generator) -> Tally:
    drawn = world.draw(rng)
    times_BG = bounds.redraw(int(drawn.user_N.max()) + 1, rng, _RESAMPLES)
    held, reach, errors = [], [], []
    for one in estimate(drawn).values():
        found = [
            (np.nan, np.nan) if interval is None else (interval.lower, interval.upper)
            for interval in bound(one, drawn, times_BG)
        ]
        gap_I2 = (np.array(found) - world.truth) * np.array([-1.0, 1.0])
        error = float(one.value_N.mean()) - world.truth
        held.append(np.where(np.isnan(gap_I2), np.nan, gap_I2 >= 0))
        reach.append(gap_I2 + np.array([error, -error]))
        errors.append((error, error**2))
    log = drawn.log
    caught = weight_checks(log.weight_N, log.weight_N, estimators.ips(log), OpeParams())
    facts = [estimators.effective_size(log.weight_N), *(not check.ok for check in caught)]
    return Tally(np.array(held), np.array(reach), np.array(errors), np.array(facts, dtype=float))


@contextmanager
def _workers(processes: int) -> Iterator[Callable[..., Any]]:
    """Map over processes; in this one if there is one, so that a profiler sees it."""
    if processes == 1:
        yield map
        return
    with ProcessPoolExecutor(processes) as pool:
        yield pool.map


def coverage(replications: int, processes: int, seed: int) -> dict[str, Any]:
    """Measure every regime; the same table for any number of processes."""
    found: dict[str, Any] = {}
    groups = range(0, replications, _GROUP)
    with (
        _workers(processes) as each,
        progress_bar("coverage", len(REGIMES) * len(groups)) as bar,
    ):
        for number, (name, regime) in enumerate(REGIMES.items()):
            world = make_world(regime)
            seeds = [
                [(seed, number, i) for i in range(begin, min(begin + _GROUP, replications))]
                for begin in groups
            ]
            total: Tally | None = None
            for tally in each(replicate, [world] * len(seeds), seeds):
                total = tally if total is None else total + tally
                bar.advance()
            assert total is not None
            names = list(estimate(world.draw(np.random.default_rng(seed))))
            found[name] = _told(total, names, replications, world.truth)
    return found


def _told(total: Tally, names: list[str], n: int, truth: float) -> dict[str, Any]:
    ess, off, thin, lone = (round(float(fact), 4) for fact in total.facts / n)
    table = {}
    for name, held_I2, reach_I2, error_2 in zip(
        names, total.held_EI2 / n, total.reach_EI2 / n, total.error_E2 / n, strict=True
    ):
        table[name] = {
            "bias": round(float(error_2[0]), 6),
            "rmse": round(float(error_2[1]) ** 0.5, 6),
            **{
                interval: {
                    side: {"coverage": round(float(held), 4), "reach": round(float(reach), 6)}
                    for side, held, reach in zip(("lower", "upper"), held_2, reach_2, strict=True)
                }
                for interval, held_2, reach_2 in zip(INTERVALS, held_I2, reach_I2, strict=True)
                if not np.isnan(held_2).any()
            },
        }
    caught = {"mean_weight_z": off, "ess": thin, "largest_share": lone}
    return {"truth": round(truth, 6), "ess": ess, "refused_by": caught, "estimators": table}


def main() -> None:
    """Measure, and write results/ope.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.replications < 1 or given.processes < 1:
        parser.error("replications and processes are at least 1")
    figures = {
        "replications": given.replications,
        "seed": given.seed,
        "alpha": ALPHA,
        "coverage": coverage(given.replications, given.processes, given.seed),
        "looks": looks(given.replications, given.seed),
    }
    write_result("ope", figures)


if __name__ == "__main__":
    main()
