"""Errors of the gate when nothing is better, under many looks and candidates.

One item a request and no difference between items (A/A): whatever is promoted is promoted wrongly.
The score, its floor and the bound are those of the gate.

Shapes: N requests, C items, K candidates.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.common import each, spans, sum_of
from benchmarks.intervals import holm
from benchmarks.ope_tally import Runs
from benchmarks.ope_world import CAP
from tessera.contracts.arrays import Float64s
from tessera.offpolicy.bounds import normal
from tessera.offpolicy.holm import share_of
from tessera.offpolicy.paired import paired_scores
from tessera.offpolicy.replay import logging_policy, replay
from tessera.offpolicy.requests import Requests
from tessera.offpolicy.sequences import Wager, log_wealth

ALPHA = 0.05
_LOOKS, _CANDIDATES, _A_DAY = 20, 10, 500
_DAYS, _STREAMS = 250, 5
_ITEMS, RATE = 5, 0.1
_RULES = ("sequence_one", "holm_sequence", "normal_looks", "normal_best")
_GROUP = 20
"""Logs that are kept together."""


def draw_requests(rng: np.random.Generator, n: int, chance_C: Float64s) -> Requests:
    """Log one item a request, each as likely as any other."""
    items = len(chance_C)
    chosen_N = rng.integers(0, items, n)
    clicked_N = rng.random(n) < chance_C[chosen_N]
    return Requests(
        request_ids=None,
        event_us_N=np.arange(n),
        user_N=np.arange(n),
        user_ids=None,
        risk_N=np.ones(n, dtype=np.int64),
        capacity_N=np.ones(n, dtype=np.int64),
        candidate_NC=np.broadcast_to(np.arange(items), (n, items)),
        chosen_NL=chosen_N[:, None],
        served_NLC=np.broadcast_to(1 / items, (n, 1, items)),
        propensity_NL=np.full((n, 1), 1 / items),
        reward_NL=clicked_N[:, None].astype(float),
        dismissed_NL=np.zeros((n, 1)),
    )


def every_request(wanted_C: Float64s) -> tuple[Requests, Float64s]:
    """Log each item without and with a click, in turns; with it what a policy wants.

    Nothing else tells one request from another here, so that scores of a log are looked up.
    """
    items = len(wanted_C)
    some = draw_requests(np.random.default_rng(0), 2 * items, np.zeros(items))
    shown_NL = np.repeat(np.arange(items), 2)[:, None]
    log = replace(some, chosen_NL=shown_NL, reward_NL=np.tile([0.0, 1.0], items)[:, None])
    return log, np.broadcast_to(wanted_C, log.served_NLC.shape)


def gain(log: Requests, wanted_C: Float64s, rate: float = RATE) -> Wager:
    """Score a policy against the one that served; the reward model knows the mean rate."""
    every, wanted_NLC = every_request(wanted_C)
    guess_NLC = np.full(wanted_NLC.shape, rate)
    policies = replay(every, wanted_NLC), logging_policy(every)
    found = paired_scores(every, policies, wanted_NLC[:, 0] > 0, guess_NLC, CAP, CAP)
    score_CR = found.score_N.reshape(-1, 2)
    chosen_N, clicked_N = log.chosen_NL[:, 0], log.reward_NL[:, 0].astype(np.int64)
    return Wager(score_CR[chosen_N, clicked_N], found.floor)


def p_value(gain: Wager, looks: int = 1) -> float:
    """Anytime-valid p-value of "no lift" over so many looks: one over the most wealth."""
    ends = np.linspace(0, len(gain.score_N), looks + 1).astype(int)[1:]
    return float(np.exp(-max(log_wealth([gain.until(end)], 0.0) for end in ends.tolist())))


def looks(runs: Runs) -> dict[str, Any]:
    """Count how often anything is promoted though all candidates are as good as the champion."""
    number, streams = runs.replications, max(runs.replications // _STREAMS, 1)
    over = partial(each, kept=runs.kept, processes=runs.processes)
    found = over(partial(_looks, runs.seed), _pieces("looks", number), "looks")
    daily = over(partial(_stream, runs.seed), _pieces("stream", streams), "a candidate a day")
    shares = {name: round(count / number, 4) for name, count in sum_of(found).items()}
    stream = {"days": _DAYS, "streams": streams, "promoted": round(sum(daily) / streams, 4)}
    return {"looks": _LOOKS, "candidates": _CANDIDATES, "requests": _LOOKS * _A_DAY, **shares,
            "stream": stream}  # fmt: skip


Piece = tuple[str, int, int]
"""Which study, and the numbers of the logs: the first, and the one behind the last."""


def _pieces(study: str, number: int) -> list[Piece]:
    return [(study, *span) for span in spans(number, _GROUP)]


def _looks(seed: int, piece: Piece) -> dict[str, int]:
    """Look at some logs again and again, with ten candidates."""
    same_C, wrong = np.full(_ITEMS, RATE), dict.fromkeys(_RULES, 0)
    for i in range(*piece[1:]):
        rng = np.random.default_rng((seed, 100, i))
        log = draw_requests(rng, _LOOKS * _A_DAY, same_C)
        gains = [gain(log, rng.dirichlet(np.ones(_ITEMS))) for _ in range(_CANDIDATES)]
        p_K = np.array([p_value(one, _LOOKS) for one in gains])
        wrong["sequence_one"] += bool(p_K[0] < ALPHA)
        wrong["holm_sequence"] += bool(holm(p_K, ALPHA).any())
        wrong["normal_looks"] += any(_above(gains[0].until(n)) for n in _each_look())
        wrong["normal_best"] += any(_above(one) for one in gains)
    return wrong


def _each_look() -> range:
    return range(_A_DAY, _LOOKS * _A_DAY + 1, _A_DAY)


def _above(gain: Wager) -> bool:
    return normal(gain.score_N, ALPHA).lower > 0


def _stream(seed: int, piece: Piece) -> int:
    """Judge a new candidate every day, the k-th at its share of alpha; count wrong streams."""
    same_C, wrong = np.full(_ITEMS, RATE), 0
    for i in range(*piece[1:]):
        rng = np.random.default_rng((seed, 200, i))
        wrong += any(_promoted(rng, same_C, share_of(ALPHA, day)) for day in range(1, _DAYS + 1))
    return wrong


def _promoted(rng: np.random.Generator, chance_C: Float64s, alpha: float) -> bool:
    found = gain(draw_requests(rng, _A_DAY, chance_C), rng.dirichlet(np.ones(_ITEMS)))
    return bool(p_value(found) < alpha)
