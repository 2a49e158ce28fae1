"""Do the bounds of the gate's panel hold on slates: coverage of the lift on planted truth.

Estimators are those of the panel, on paired differences as there, and item-position IPS; `excess`
is the score of the gate, whose sequence decides.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks import intervals
from benchmarks.ope_looks import ALPHA
from benchmarks.ope_slate_world import PARAMS, REGIMES, Drawn, World, make_world
from benchmarks.ope_tally import RESAMPLES, Runs, Tally, measure, tallied, tell
from tessera.contracts.arrays import Float64s
from tessera.offpolicy import bounds, estimators
from tessera.offpolicy.replay import mass_beyond, slate_log
from tessera.offpolicy.sequences import Wager, asymptotic_upper, betting_lower
from tessera.offpolicy.tuning import CEILINGS, choose_ceiling
from tessera.stages.ope.checks import overlap_checks
from tessera.stages.ope.judge import pair

INTERVALS = ("clustered", "hall", "bca", "sequence")
_FIRST = 300
"""Seeds from here on are those of slates."""


def lifts(drawn: Drawn) -> dict[str, Float64s]:
    """Return what each request adds to the lift by every estimator with fixed-n bounds."""
    case = drawn.case
    reward_NL, user_N = case.log.reward_NL, case.log.user_N
    new, old = (
        slate_log(case.log, policy, reward_NL, drawn.guess_NLC)
        for policy in (case.candidate, case.champion)
    )

    def switched(ceiling: float) -> Float64s:
        high_N, low_N = (estimators.cascade_switch_dr(one, ceiling) for one in (new, old))
        return high_N - low_N

    beyond = partial(mass_beyond, (case.candidate, case.champion))
    ceiling = choose_ceiling(switched, beyond, user_N, CEILINGS)
    by_position_N = estimators.iips(reward_NL, drawn.shown_NL, drawn.wanted_NL)
    return {
        "iips": by_position_N - reward_NL.sum(axis=1),
        "rips": estimators.rips(new) - estimators.rips(old),
        "snrips": estimators.snrips_influence(new) - estimators.snrips_influence(old),
        "dm": estimators.cascade_dm(new) - estimators.cascade_dm(old),
        "dr": estimators.cascade_dr(new) - estimators.cascade_dr(old),
        "switch_dr": switched(ceiling),
    }


def look(world: World, rng: np.random.Generator) -> Tally:
    """Draw one log and see which bounds hold."""
    drawn = world.draw(rng)
    case, log = drawn.case, drawn.case.log
    times_BG = intervals.redraw(int(log.user_N.max()) + 1, rng, RESAMPLES)
    found: dict[str, tuple[float, list[bounds.Interval | None]]] = {}
    for name, lift_N in lifts(drawn).items():
        fixed: list[bounds.Interval | None] = [
            bounds.clustered_normal(lift_N, log.user_N, ALPHA),
            bounds.skew_corrected(lift_N, log.user_N, ALPHA),
            intervals.bca(lift_N, log.user_N, times_BG, ALPHA),
        ]
        found[name] = (float(lift_N.mean()), [*fixed, None])
    decides = _sequence(drawn)
    found["excess"] = (decides.mean, [None, None, None, decides])
    ess = estimators.effective_size(case.candidate.weight_NL[:, -1])
    caught = overlap_checks(log, case.candidate, case.champion, PARAMS)[1:]  # support is given
    return tallied(found, world.truth, ess, caught)


def _sequence(drawn: Drawn) -> bounds.Interval:
    """Return the bounds that decide, as they stand after the last request."""
    case, guess_NLC = drawn.case, drawn.guess_NLC
    log, paired = case.log, pair(case, guess_NLC, PARAMS)
    wagers = [Wager(one.score_N, one.floor) for one in paired]
    lower = betting_lower(wagers, float(log.chosen_NL.shape[1]), ALPHA)
    score_N = paired[-1].score_N
    upper = asymptotic_upper(lifts(drawn)["dr"], ALPHA, np.array([len(log)]))[0]
    spread = bounds.clustered_normal(score_N, log.user_N, ALPHA).stderr
    return bounds.Interval(float(score_N.mean()), spread, lower, float(upper))


def slates(runs: Runs) -> dict[str, Any]:
    """Measure every regime."""
    worlds = {name: make_world(regime) for name, regime in REGIMES.items()}
    return {
        name: tell(total, INTERVALS, runs.replications, worlds[name].truth)
        for name, total in measure(worlds, look, runs, _FIRST).items()
    }
