"""Negative controls: what must come out when there is nothing to find, before every verdict.

Where something is found, the bounds mean nothing on this log, and nothing is decided by them.

Shapes: N requests, L positions, C candidates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tessera.contracts.arrays import Float64s
from tessera.offpolicy.bounds import clustered_normal
from tessera.offpolicy.paired import Paired, paired_scores
from tessera.offpolicy.requests import NOBODY, Requests
from tessera.offpolicy.sequences import Wager, log_wealth
from tessera.stages.ope.case import Case
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.verdict import Check

_LUCK = 0.001
"""Chance at most that a sound log fails a control."""
_ROUNDING = 1e-9


def controls(
    case: Case, paired: Sequence[Paired], guess_NLC: Float64s, params: OpeParams
) -> dict[str, Any]:
    """Negative controls: nothing to find, so nothing may be found.

    Dealings share one log and are promoted together, so each is held to half of what all may fail
    by, and half of them may be: by Markov's inequality more are promoted with a chance of `_LUCK`
    at most.

    Parameters
    ----------
    case : Case
        The two policies on the log.
    paired : sequence of Paired
        Candidate over champion, as the sequence bets on it.
    guess_NLC : array
        Reward model.
    params : OpeParams
        How often rewards are dealt out, and the seed.
    """
    rng = np.random.default_rng(params.seed)
    log = case.log
    both, narrow = (case.candidate, case.candidate), min(params.caps)
    same_N = paired_scores(log, both, case.allowed_NC, guess_NLC, *narrow).score_N
    needed = math.log(2 / _LUCK)
    filled_NL = log.chosen_NL != NOBODY
    promoted = 0
    for _ in range(params.permutations):
        reward_NL = log.reward_NL[rng.permutation(len(log))] * filled_NL
        dealt = [_dealt(one, reward_NL - log.reward_NL) for one in paired]
        promoted += bool(log_wealth(dealt, 0.0) > needed)
    return {
        "same_policy": {"largest_score": float(np.abs(same_N).max(initial=0.0))},
        "permuted_rewards": {
            "tried": params.permutations,
            "promoted": promoted,
            "most_by_luck": params.permutations // 2,
        },
        "random_halves": _halves(log, params, rng),
    }


def _dealt(paired: Paired, more_NL: Float64s) -> Wager:
    return Wager(paired.score_N + (paired.slope_NL * more_NL).sum(axis=1), paired.floor)


def control_checks(found: dict[str, Any]) -> list[Check]:
    """Ask that nothing was promoted but by luck.  How far apart two halves lie is only shown."""
    permuted, same = found["permuted_rewards"], found["same_policy"]["largest_score"]
    most = permuted["most_by_luck"]
    return [
        Check("permuted_promoted", permuted["promoted"], most, permuted["promoted"] <= most,
              "rewards dealt out at random are promoted"),
        Check("same_policy_score", same, _ROUNDING, same <= _ROUNDING,
              "the candidate differs from itself"),
    ]  # fmt: skip


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
