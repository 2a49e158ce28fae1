"""Negative controls: what must come out when there is nothing to find, before every verdict.

Where something is found, the bounds mean nothing on this log, and nothing is decided by them.

Shapes: N requests, L positions, C candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tessera.ope.bounds import clustered_normal, confidence_sequence
from tessera.ope.exposures import NOBODY, Floats, Requests
from tessera.ope.holm import Level
from tessera.ope.params import OpeParams
from tessera.ope.replay import Case, excess, score_floor
from tessera.ope.verdict import Check

_LUCK = 0.001
"""Chance at most that a sound log fails a control."""


def controls(case: Case, guess_NLC: Floats, params: OpeParams, level: Level) -> dict[str, Any]:
    """Negative controls: nothing to find, so nothing may be found.

    `level` is the one that the candidate itself is held to; its bets are used here, too.  Dealings
    share one log and are promoted together, so each is held to half of what all may fail by, and
    half of them may be: by Markov's inequality more are promoted with a chance of `_LUCK` at most.
    """
    rng = np.random.default_rng(params.seed)
    log = case.log
    same_N = excess(log, case.candidate, case.candidate, guess_NLC, params.cap)
    gain_N = excess(log, case.candidate, case.champion, guess_NLC, params.cap)
    floor = score_floor(log.chosen_NL.shape[1], params.cap)
    gap_NL = case.candidate.weight_NL - case.champion.weight_NL
    filled_NL = log.chosen_NL != NOBODY
    promoted = 0
    for _ in range(params.permutations):
        reward_NL = log.reward_NL[rng.permutation(len(log))] * filled_NL
        permuted_N = gain_N + (gap_NL * (reward_NL - log.reward_NL)).sum(axis=1)
        promoted += bool(_lower(permuted_N, floor, Level(_LUCK / 2, level.tuned_for)) > 0)
    return {
        "same_policy": _same_policy(same_N, log, floor, level),
        "permuted_rewards": {
            "tried": params.permutations,
            "promoted": promoted,
            "most_by_luck": params.permutations // 2,
        },
        "random_halves": _halves(log, params, rng),
    }


def control_checks(found: dict[str, Any]) -> list[Check]:
    """Ask that nothing was promoted but by luck.  How far apart two halves lie is only shown."""
    permuted, same = found["permuted_rewards"], found["same_policy"]["promoted"]
    most = permuted["most_by_luck"]
    return [
        Check("permuted_promoted", permuted["promoted"], most, permuted["promoted"] <= most,
              "rewards dealt out at random are promoted"),
        Check("same_policy_promoted", float(same), 0.0, not same,
              "the candidate is promoted over itself"),
    ]  # fmt: skip


def _lower(excess_N: Floats, floor: float, level: Level) -> float:
    return float(confidence_sequence(excess_N, floor, level.alpha, level.tuned_for)[-1])


def _same_policy(same_N: Floats, log: Requests, floor: float, level: Level) -> dict[str, Any]:
    """Bound the lift of the candidate over itself as the lift over the champion is bounded."""
    reach = _lower(same_N, floor, Level(_LUCK, level.tuned_for))
    found = clustered_normal(same_N, log.user_N, level.alpha)
    return {
        "lift": found.mean,
        "stderr": found.stderr,
        "lower": reach,
        "upper": -reach,
        "promoted": reach > 0,
    }


def _halves(log: Requests, params: OpeParams, rng: np.random.Generator) -> dict[str, Any]:
    """Compare two random halves of the investors under the policy that served both."""
    value_N = log.reward_NL.sum(axis=1)
    half_N = rng.random(len(log.user_ids))[log.user_N] < 0.5
    if half_N.all() or not half_N.any():
        return {"difference": 0.0, "stderr": 0.0}
    parts = [
        clustered_normal(value_N[part_N], log.user_N[part_N], params.alpha)
        for part_N in (half_N, ~half_N)
    ]
    return {
        "difference": parts[0].mean - parts[1].mean,
        "stderr": float(np.hypot(parts[0].stderr, parts[1].stderr)),
    }
