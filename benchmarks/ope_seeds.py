"""How often the best of sixty seeds is promoted though none is better, and what counting is worth.

Usage: python -m benchmarks.ope_seeds [--logs 400] [--processes 2] [--seed 0]
A killed run goes on where it was (data/bench/ope_seeds.jsonl).

One log of 40,000 requests, one item of five each, written by the champion.  Every item is equally
good in every context, so every policy is; investors come again, each of a pace of its own.  A
candidate is trained sixty times: what its seeds share, and an error of each seed's own.  All are
tried on the log, the k-th at the k-th share of alpha, as the ledger of looks counts them
(tests/pipeline/test_looks.py); beside it stands the same rule if each were taken for the first.

Shapes: N requests, X contexts, C items, U investors.
"""

from __future__ import annotations

import argparse
from collections import Counter
from functools import partial
from typing import Any

import numpy as np
from scipy.special import softmax

from benchmarks.common import Kept, each, spans, sum_of, write_result
from benchmarks.ope_rule import promotes, sequence_above
from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.offpolicy.holm import share_of
from tessera.offpolicy.paired import paired_scores
from tessera.offpolicy.replay import logging_policy, replay
from tessera.offpolicy.requests import Requests
from tessera.offpolicy.sequences import Wager
from tessera.stages.ope.conditions import Scored, conditions
from tessera.stages.ope.params import OpeParams

_REQUESTS, _SEEDS, _DAYS = 40_000, 60, 120
_ITEMS, _CONTEXTS, _USERS = 5, 200, 4000
_RATE, _PACE = 0.3, 0.5
"""Mean chance of a reward, and how far that of an investor lies from it at most."""
_OWN = 0.5
"""Share of a seed's scores (in variance) that no other seed has."""
_PARAMS = OpeParams()
_GROUP = 5


def draw_log(champion_XC: Float64s, rng: np.random.Generator) -> tuple[Requests, Ints]:
    """Log requests of which no item is better; return them with the context of each."""
    x_N, user_N = rng.integers(0, _CONTEXTS, _REQUESTS), rng.integers(0, _USERS, _REQUESTS)
    sums_NC = np.cumsum(champion_XC, axis=1)[x_N]
    chosen_N = np.minimum((rng.random(_REQUESTS)[:, None] > sums_NC).sum(axis=1), _ITEMS - 1)
    rate_U = _RATE * (1 + _PACE * rng.uniform(-1, 1, _USERS))
    clicked_N = rng.random(_REQUESTS) < rate_U[user_N]
    return _requests(champion_XC[x_N], chosen_N, clicked_N, user_N), x_N


def _requests(served_NC: Float64s, chosen_N: Ints, clicked_N: Bools, user_N: Ints) -> Requests:
    requests, row_N = len(chosen_N), np.arange(len(chosen_N))
    return Requests(
        request_ids=None,
        event_us_N=row_N * _DAYS * DAY_US // requests,
        user_N=user_N,
        user_ids=None,
        risk_N=np.ones(requests, dtype=np.int64),
        capacity_N=np.ones(requests, dtype=np.int64),
        candidate_NC=np.broadcast_to(np.arange(_ITEMS), (requests, _ITEMS)),
        chosen_NL=chosen_N[:, None],
        served_NLC=served_NC[:, None, :],
        propensity_NL=served_NC[row_N, chosen_N][:, None],
        reward_NL=clicked_N[:, None].astype(float),
        dismissed_NL=np.zeros((requests, 1)),
    )


def score_table(champion_XC: Float64s, wanted_XC: Float64s) -> tuple[Float64s, float]:
    """Score a policy against the champion, which wrote the log, as the gate does.

    Returns
    -------
    array, float
        Scores by context, item and whether it was clicked, from which those of a log are looked
        up; and the floor below which none lies.
    """
    shape = (_CONTEXTS, _ITEMS, 2)
    x_R, chosen_R, clicked_R = (part.ravel() for part in np.indices(shape))
    every = _requests(champion_XC[x_R], chosen_R, clicked_R > 0, x_R)
    policies = replay(every, wanted_XC[x_R][:, None, :]), logging_policy(every)
    guess_RLC, open_RC = np.full(every.served_NLC.shape, _RATE), np.ones((len(x_R), _ITEMS), bool)
    found = paired_scores(every, policies, open_RC, guess_RLC, *_PARAMS.caps[-1])
    return found.score_N.reshape(shape), found.floor


def try_seeds(rng: np.random.Generator) -> dict[str, bool]:
    """Try all seeds on one log; tell by which rule any of them is promoted."""
    shared_XC, champion_XC = rng.normal(size=(2, _CONTEXTS, _ITEMS))
    champion_XC = softmax(0.5 * champion_XC, axis=1)
    log, x_N = draw_log(champion_XC, rng)
    at = x_N, log.chosen_NL[:, 0], log.reward_NL[:, 0].astype(np.int64)
    promoted = dict.fromkeys(("counted", "not counted", "one bound"), False)
    first = share_of(_PARAMS.alpha, 1)
    for k in range(1, _SEEDS + 1):
        own_XC = rng.normal(size=shared_XC.shape)
        wanted_XC = softmax(np.sqrt(1 - _OWN) * shared_XC + np.sqrt(_OWN) * own_XC, axis=1)
        score_XCR, floor = score_table(champion_XC, wanted_XC)
        wager = Wager(score_XCR[at], floor)
        scored = Scored((wager,), wager.score_N, 1.0, log.user_N, log.event_us_N)
        fixed = conditions(scored, first, 0.0)
        promoted["one bound"] |= bool(fixed[0].ok)
        # Who fails at the share of the first fails at every smaller one.
        if all(check.ok for check in fixed) and sequence_above(scored, first):
            promoted["not counted"] = True
            promoted["counted"] |= promotes(scored, share_of(_PARAMS.alpha, k))
    return promoted


def count(span: tuple[int, int], seed: int) -> dict[str, int]:
    """Count the logs of which some seed is promoted."""
    found: Counter[str] = Counter()
    for one in range(*span):
        found.update(try_seeds(np.random.default_rng((seed, one))))
    return dict(found)


def main() -> None:
    """Measure and write results/ope_seeds.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=400)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if min(given.logs, given.processes) < 1:
        parser.error("at least one log and one process")
    kept = Kept("ope_seeds", {"seed": given.seed})
    work, pieces = partial(count, seed=given.seed), spans(given.logs, _GROUP)
    total = sum_of(each(work, pieces, "sixty seeds", kept, given.processes))
    figures: dict[str, Any] = {
        "logs": given.logs,
        "seed": given.seed,
        "seeds": _SEEDS,
        "requests": _REQUESTS,
        "alpha": _PARAMS.alpha,
        "promoted": {rule: round(logs / given.logs, 4) for rule, logs in total.items()},
    }
    write_result("ope_seeds", figures)


if __name__ == "__main__":
    main()
