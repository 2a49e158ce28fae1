"""Do off-policy bounds hold: one-sided coverage of every estimator and interval on planted truth.

Usage: python -m benchmarks.ope [--replications 1000] [--processes 2] [--seed 0]
A killed run goes on where it was (data/bench/ope.jsonl).
Also: the same for lifts of slates (benchmarks.ope_slates), and errors of the gate under many looks
and candidates (benchmarks.ope_looks).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks import intervals
from benchmarks.common import Kept, write_result
from benchmarks.ope_looks import ALPHA, looks
from benchmarks.ope_slates import slates
from benchmarks.ope_tally import RESAMPLES, Runs, Tally, measure, tallied, tell
from benchmarks.ope_world import REGIMES, Drawn, World, make_world
from tessera.contracts.arrays import Float64s
from tessera.offpolicy import bounds, estimators
from tessera.offpolicy.clusters import ClusterLog, mips, offcem
from tessera.offpolicy.tuning import CEILINGS, choose_ceiling
from tessera.stages.ope.checks import weight_checks
from tessera.stages.ope.params import OpeParams

INTERVALS = ("normal", "clustered", "hall", "bca")
_CEILING, _SHRINKAGE, _SWITCH = 10.0, 100.0, 10.0


def _beyond(log: ClusterLog, ceiling: float) -> float:
    """Return how often the new policy shows what has a weight above the ceiling."""
    is_heavy_NC = log.wanted_NC > ceiling * log.served_NC
    return float((log.wanted_NC * is_heavy_NC).sum(axis=1).mean())


def estimate(drawn: Drawn) -> dict[str, Float64s]:
    """Return what each unit adds to the value by every estimator."""
    log, clusters = drawn.log, drawn.clusters
    alone_N = np.arange(len(log.reward_N))
    tuned = choose_ceiling(
        partial(estimators.switch_dr, log), partial(_beyond, clusters), alone_N, CEILINGS
    )
    return {
        "ips": estimators.ips(log),
        "clipped": estimators.clipped_ips(log, _CEILING),
        "snips": estimators.snips_influence(log),
        "dm": estimators.dm(log),
        "dr": estimators.dr(log),
        "sndr": estimators.sndr_influence(log),
        "switch_dr": estimators.switch_dr(log, _SWITCH),
        "switch_dr_tuned": estimators.switch_dr(log, tuned),
        "dros": estimators.dros(log, _SHRINKAGE),
        "mips": mips(clusters),
        "offcem": offcem(clusters),
    }


def bound(value_N: Float64s, drawn: Drawn, times_BG: intervals.Bytes) -> Iterator[bounds.Interval]:
    """Give the bounds by each of INTERVALS."""
    yield bounds.normal(value_N, ALPHA)
    yield bounds.clustered_normal(value_N, drawn.user_N, ALPHA)
    yield bounds.skew_corrected(value_N, drawn.user_N, ALPHA)
    yield intervals.bca(value_N, drawn.user_N, times_BG, ALPHA)


def look(world: World, rng: np.random.Generator) -> Tally:
    """Draw one log and see which bounds hold."""
    drawn = world.draw(rng)
    times_BG = intervals.redraw(int(drawn.user_N.max()) + 1, rng, RESAMPLES)
    found = {
        name: (float(value_N.mean()), list(bound(value_N, drawn, times_BG)))
        for name, value_N in estimate(drawn).items()
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
    kept = Kept("ope", {"seed": given.seed})
    runs = Runs(given.replications, given.processes, given.seed, kept)
    figures = {
        "replications": given.replications,
        "seed": given.seed,
        "alpha": ALPHA,
        "coverage": coverage(runs),
        "slates": slates(runs),
        "looks": looks(runs),
    }
    write_result("ope", figures)


if __name__ == "__main__":
    main()
