"""Do off-policy bounds hold: one-sided coverage of every estimator and interval on planted truth.

Usage: python -m benchmarks.ope [--replications 1000] [--processes 2] [--seed 0]
Also: the same for lifts of slates (benchmarks.ope_slates), and errors of the gate under many looks
and candidates (benchmarks.ope_looks).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks import intervals
from benchmarks.common import write_result
from benchmarks.ope_looks import ALPHA, looks
from benchmarks.ope_slates import slates
from benchmarks.ope_tally import RESAMPLES, Runs, Tally, measure, tallied, tell
from benchmarks.ope_world import CAP, REGIMES, Drawn, Floats, World, make_world, missed
from tessera.ope import bounds, estimators
from tessera.ope.checks import weight_checks
from tessera.ope.clusters import ClusterLog, mips, offcem
from tessera.ope.estimators import Log
from tessera.ope.params import OpeParams
from tessera.ope.tuning import CEILINGS, choose_ceiling

INTERVALS = ("normal", "clustered", "hall", "bernstein", "bca", "sequence")
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


def _beyond(log: ClusterLog, ceiling: float) -> float:
    """Return how often the new policy shows what has a weight above the ceiling."""
    is_heavy_NC = log.wanted_NC > ceiling * log.served_NC
    return float((log.wanted_NC * is_heavy_NC).sum(axis=1).mean())


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
        partial(estimators.switch_dr, log), partial(_beyond, clusters), alone_N, CEILINGS
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
        "switch_dr_tuned": Estimated(estimators.switch_dr(log, tuned)),
        "dros": alone(shrunk, -(_SHRINKAGE**0.5) / 2, _SHRINKAGE**0.5 / 2 + 1, _SHRINKAGE**0.5 / 2),
        "mips": Estimated(mips(clusters), (0.0, most), (mips(clusters), marginal_rest)),
        "offcem": Estimated(conjunct, (-most, most + 1), (conjunct, 1 - conjunct), most + 1),
    }


def bound(one: Estimated, drawn: Drawn, times_BG: intervals.Bytes) -> Iterator[Any]:
    """Give the bounds by each of INTERVALS; None where the interval makes no sense."""
    yield bounds.normal(one.value_N, ALPHA)
    yield bounds.clustered_normal(one.value_N, drawn.user_N, ALPHA)
    yield bounds.skew_corrected(one.value_N, drawn.user_N, ALPHA)
    yield one.reach and intervals.empirical_bernstein(one.value_N, *one.reach, ALPHA)
    yield intervals.bca(one.value_N, drawn.user_N, times_BG, ALPHA)
    yield one.pair and intervals.betting_interval(*one.pair, one.floor, ALPHA)


def look(world: World, rng: np.random.Generator) -> Tally:
    """Draw one log and see which bounds hold."""
    drawn = world.draw(rng)
    times_BG = intervals.redraw(int(drawn.user_N.max()) + 1, rng, RESAMPLES)
    found = {
        name: (float(one.value_N.mean()), list(bound(one, drawn, times_BG)))
        for name, one in estimate(drawn).items()
    }
    log = drawn.log
    ess = estimators.effective_size(log.weight_N)
    caught = weight_checks(log.weight_N, log.weight_N, estimators.ips(log), OpeParams())
    return tallied(found, world.truth, ess, caught)


def coverage(runs: Runs) -> dict[str, Any]:
    """Measure every regime."""
    worlds = {name: make_world(regime) for name, regime in REGIMES.items()}
    return {
        name: tell(total, INTERVALS, runs.replications, worlds[name].truth)
        for name, total in measure(worlds, look, runs).items()
    }


def main() -> None:
    """Measure, and write results/ope.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.replications < 1 or given.processes < 1:
        parser.error("replications and processes are at least 1")
    runs = Runs(given.replications, given.processes, given.seed)
    figures = {
        "replications": given.replications,
        "seed": given.seed,
        "alpha": ALPHA,
        "coverage": coverage(runs),
        "slates": slates(runs),
        "looks": looks(given.replications, given.seed),
    }
    write_result("ope", figures)


if __name__ == "__main__":
    main()
