"""Who gets through the gate: random weights, reward flipped, random but flattered, better.

Usage: python -m benchmarks.ope_trials [--trials 200] [--long-trials 40] [--long-requests 80000]
       [--processes 2] [--seed 0]
A killed run goes on where it was (data/bench/ope_trials.jsonl).
Every trial is a log of its own, judged by the whole gate as the first candidate; only what is read
from tables is left out.  The champion, which served the log, knows little of the taste.  Whoever is
flattered is random too: the reward model says twice the truth, the log (longer, of one item a
request) hardly ever shows what is wanted, and the pre-checks of overlap let everything pass, so the
bound stands alone.

Shapes: N requests, L positions, C candidates, U users, I items.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.common import Kept, each, write_result
from benchmarks.ope_tally import Runs
from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.offpolicy.bounds import clustered_normal
from tessera.offpolicy.estimators import cascade_dr
from tessera.offpolicy.replay import logging_policy, scored_replay, slate_log
from tessera.offpolicy.requests import Requests
from tessera.shared.policies.slate import (
    SlatePolicy,
    position_marginals,
    sample_slates,
)
from tessera.stages.ope.case import Case, candidate_policy
from tessera.stages.ope.document import Document
from tessera.stages.ope.guardrails import GuardrailInputs
from tessera.stages.ope.judge import judge
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.spending import Standing

SCORERS = ("random weights", "reward flipped", "random and flattered", "better")
WORSE = ("random weights", "reward flipped")
"""Those that a log long enough must reject: the policies themselves are worse."""
_REQUESTS, _MANY, _LONG = 4000, 40_000, 80_000
_VALUED = 10_000
"""Requests over which true values are taken, at most."""
_USERS, _ITEMS, _CANDIDATES = 300, 40, 10
_SOUND = GuardrailInputs(codes_per_item=1.0, mflops=1.0, effect_weight=0.0)
"""Codes and cost of whoever is judged; nothing has a price, and scorers promise no chances."""
_WIDTH = 8
"""Of the vectors of the scorer with random weights."""
_LOGGER = SlatePolicy(temperature=1.0, epsilon=0.2, top_k=_CANDIDATES)
_KNOWN = 0.3
"""Weight of taste in the log odds of the champion; of the own mind of each item the rest."""
_SHARP = SlatePolicy(temperature=0.2, epsilon=0.03, top_k=_CANDIDATES)
_EXAMINED_L = np.array([1.0, 0.8, 0.6])
_PARAMS = OpeParams(min_ess=100, permutations=0, max_dismissals_rise=3.0)
"""Logs of some thousand requests tell no small rise of dismissals from none: as with `_SOUND`, the
guardrail lets pass, so that what is counted is the bound of the lift."""
_FLATTERED = OpeParams(
    min_ess=1, max_share=1.0, max_z=10.0, permutations=0, caps=((10.0, 20.0),), temperature=0.3,
    max_dismissals_rise=3.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trial:
    """One log and the truth behind it."""

    log: Requests
    chance_NC: Float64s
    allowed_NC: Bools

    def value(self, score_NC: Float64s, policy: SlatePolicy) -> float:
        """Clicks per request under a policy, exactly, over the first of the requests."""
        positions, first = self.log.chosen_NL.shape[1], slice(_VALUED)
        shown_NLC = position_marginals(score_NC[first], self.allowed_NC[first], policy, positions)
        return float((shown_NLC * self.chance_NLC[first]).sum(axis=(1, 2)).mean())

    @property
    def chance_NLC(self) -> Float64s:
        """Chance of a click by candidate at each position."""
        examined_L = _EXAMINED_L[: self.log.chosen_NL.shape[1]]
        return np.asarray(self.chance_NC[:, None, :] * examined_L[:, None])


def make_trial(
    rng: np.random.Generator, logger: SlatePolicy, positions: int, requests: int
) -> tuple[Trial, Float64s]:
    """Serve a log; return it with the scores of the champion."""
    user_N = rng.integers(0, _USERS, requests)
    candidate_NC = np.argsort(rng.random((requests, _ITEMS)), axis=1)[:, :_CANDIDATES]
    taste_NC = rng.normal(size=(_USERS, _ITEMS))[user_N[:, None], candidate_NC]
    chance_NC = np.clip(0.08 * np.exp(1.2 * taste_NC - 0.7), 0, 0.9)
    allowed_NC = np.ones(chance_NC.shape, dtype=bool)
    score_NC = _KNOWN * logger.temperature * taste_NC + 0.5 * rng.normal(size=_ITEMS)[candidate_NC]
    chosen_NL, propensity_NL, served_NLC = sample_slates(
        score_NC, allowed_NC, logger, positions, rng
    )
    clicked_NL = rng.random(chosen_NL.shape) < _at(chance_NC, chosen_NL) * _EXAMINED_L[:positions]
    dismissed_NL = (rng.random(chosen_NL.shape) < 0.02) & ~clicked_NL
    log = Requests(
        request_ids=pa.nulls(requests),
        event_us_N=np.arange(requests),
        user_N=np.unique(user_N, return_inverse=True)[1],
        user_ids=pa.array(np.unique(user_N)),
        risk_N=np.ones(requests, dtype=np.int64),
        capacity_N=np.ones(requests, dtype=np.int64),
        candidate_NC=candidate_NC,
        chosen_NL=chosen_NL,
        served_NLC=served_NLC,
        propensity_NL=propensity_NL,
        reward_NL=clicked_NL.astype(float),
        dismissed_NL=dismissed_NL.astype(float),
        counts={"outcomes": int(clicked_NL.sum() + dismissed_NL.sum()), "outcomes_duplicate": 0,
                "exposures_duplicate": 0, "exposures_outside_candidates": 0},
    )  # fmt: skip
    return Trial(log, chance_NC, allowed_NC), score_NC


def _at(value_NC: Float64s, chosen_NL: Ints) -> Float64s:
    return np.asarray(np.take_along_axis(value_NC, chosen_NL, axis=1))


def _scored(scorer: str, trial: Trial, rng: np.random.Generator) -> Float64s:
    right_NC = np.log(trial.chance_NC)
    if scorer == "better":
        return right_NC
    if scorer.startswith("random"):
        user_UD, item_ID = (rng.normal(size=(n, _WIDTH)) for n in (_USERS, _ITEMS))
        states_ND = user_UD[trial.log.user_N]
        items_NCD = item_ID[trial.log.candidate_NC]
        return np.asarray(np.einsum("nd,ncd->nc", states_ND, items_NCD) / _WIDTH**0.5)
    return -right_NC


@dataclass(frozen=True, slots=True)
class Outcome:
    """One trial, judged."""

    verdict: Document
    lift: float
    """The true one."""
    clipped: bool
    """Would a normal bound have promoted it if the weights were clipped at the cap."""


def judged(scorer: str, rng: np.random.Generator, requests: int = _REQUESTS) -> Outcome:
    """Let the gate judge a scorer on a log of its own."""
    flattered = scorer == "random and flattered"
    logger = _SHARP if flattered else _LOGGER
    size = (1, _MANY) if flattered else (len(_EXAMINED_L), requests)
    trial, champion_NC = make_trial(rng, logger, *size)
    params = _FLATTERED if flattered else _PARAMS
    score_NC = _scored(scorer, trial, rng)
    policy = candidate_policy(params, trial.log)
    case = Case(
        log=trial.log,
        candidate=scored_replay(trial.log, score_NC, trial.allowed_NC, policy.slate),
        champion=logging_policy(trial.log),
        policy=policy,
        champion_policy=None,
        allowed_NC=trial.allowed_NC,
        unscored=0,
        score_hash="",
        standing=Standing("", 1),
    )
    # Half of the chance is what a model of rates might know; twice of it flatters every policy.
    guess_NLC = np.minimum(trial.chance_NLC * (2.0 if flattered else 0.5), 1.0)
    lift = trial.value(score_NC, policy.slate) - trial.value(champion_NC, logger)
    verdict = judge(case, _SOUND, guess_NLC, params)
    clipped_N = _clipped(case, guess_NLC, params.caps[-1][0])
    clipped = clustered_normal(clipped_N, trial.log.user_N, params.alpha).lower > 0
    return Outcome(verdict, lift, clipped)


def _clipped(case: Case, guess_NLC: Float64s, cap: float) -> Float64s:
    """Doubly robust lift with the weights of the candidate clipped: what the gate never does."""
    rewards = (case.log.reward_NL, guess_NLC)
    seen = slate_log(case.log, case.candidate, *rewards)
    low = replace(seen, weight_NL=np.minimum(seen.weight_NL, cap))
    return cascade_dr(low) - cascade_dr(slate_log(case.log, case.champion, *rewards))


Piece = tuple[str, int, int]
"""Scorer, requests of the log, number of the trial."""


def _trial(seed: int, piece: Piece) -> dict[str, Any]:
    """Judge one trial; tell what is counted."""
    scorer, requests, number = piece
    one = judged(scorer, np.random.default_rng((seed, SCORERS.index(scorer), number)), requests)
    primary = one.verdict["primary"]
    return {"decision": one.verdict["decision"], "lower": primary["lower"],
            "upper": primary["upper"], "lift": one.lift, "clipped": bool(one.clipped)}  # fmt: skip


def trials(scorer: str, runs: Runs, requests: int = _REQUESTS) -> dict[str, Any]:
    """Count the decisions, and how often the bounds hold the true lift."""
    pieces = [(scorer, requests, i) for i in range(runs.replications)]
    found = each(partial(_trial, runs.seed), pieces, scorer, runs.kept, runs.processes)
    lifts = [one["lift"] for one in found]

    def share(holds: list[bool]) -> float:
        return round(float(np.mean(holds)), 4)

    return {
        "decisions": dict(sorted(Counter(one["decision"] for one in found).items())),
        "lower_bound_above_0": share([one["lower"] > 0 for one in found]),
        "promoted_if_weights_were_clipped": share([one["clipped"] for one in found]),
        "true_lift": [round(min(lifts), 4), round(max(lifts), 4)],
        "true_lift_inside": share([one["lower"] < one["lift"] < one["upper"] for one in found]),
    }


def main() -> None:
    """Measure and write results/ope_trials.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--long-trials", type=int, default=40, help="of the worse, on a long log")
    parser.add_argument("--long-requests", type=int, default=_LONG)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if min(given.trials, given.long_trials, given.long_requests, given.processes) < 1:
        parser.error("at least one trial of at least one request, and one process")
    runs = Runs(given.trials, given.processes, given.seed, Kept("ope_trials", {"seed": given.seed}))
    few = replace(runs, replications=given.long_trials)
    figures = {
        "trials": given.trials,
        "requests": {"flattered": _MANY, "others": _REQUESTS},
        "seed": given.seed,
        "scorers": {name: trials(name, runs) for name in SCORERS},
        "long": {
            "trials": given.long_trials,
            "requests": given.long_requests,
            "scorers": {name: trials(name, few, given.long_requests) for name in WORSE},
        },
    }
    write_result("ope_trials", figures)


if __name__ == "__main__":
    main()
