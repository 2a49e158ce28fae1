"""Errors of the gate when nothing is better, under many looks and candidates.

One item a request and no difference between items (A/A): whatever is promoted is promoted wrongly.
The score, its floor and the bound are those of the gate.

Shapes: N requests, C items, K candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.intervals import holm
from benchmarks.ope_world import CAP, Floats
from tessera.contracts.progress import progress_bar
from tessera.ope.bounds import normal
from tessera.ope.exposures import Requests
from tessera.ope.holm import share_of
from tessera.ope.paired import paired_scores
from tessera.ope.replay import logging_policy, replay
from tessera.ope.sequences import Wager, log_wealth

ALPHA = 0.05
_LOOKS, _CANDIDATES, _A_DAY = 20, 10, 500
_DAYS, _STREAMS = 250, 5
_ITEMS, RATE = 5, 0.1


def draw_requests(rng: np.random.Generator, n: int, chance_C: Floats) -> Requests:
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
        served_NLC=np.full((n, 1, items), 1 / items),
        propensity_NL=np.full((n, 1), 1 / items),
        reward_NL=clicked_N[:, None].astype(float),
        dismissed_NL=np.zeros((n, 1)),
    )


def gain(log: Requests, wanted_C: Floats, rate: float = RATE) -> Wager:
    """Score a policy against the one that served; the reward model knows the mean rate."""
    wanted_NLC = np.broadcast_to(wanted_C, log.served_NLC.shape)
    guess_NLC = np.full(log.served_NLC.shape, rate)
    policies = replay(log, wanted_NLC), logging_policy(log)
    found = paired_scores(log, policies, wanted_NLC[:, 0] > 0, guess_NLC, CAP, CAP)
    return Wager(found.score_N, found.floor)


def p_value(gain: Wager, looks: int = 1) -> float:
    """Anytime-valid p-value of "no lift" over so many looks: one over the most wealth."""
    ends = np.linspace(0, len(gain.score_N), looks + 1).astype(int)[1:]
    return float(np.exp(-max(log_wealth([gain.until(end)], 0.0, 1.0) for end in ends.tolist())))


def looks(replications: int, seed: int) -> dict[str, Any]:
    """Count how often anything is promoted though all candidates are as good as the champion."""
    same_C = np.full(_ITEMS, RATE)
    wrong = dict.fromkeys(("sequence_one", "holm_sequence", "normal_looks", "normal_best"), 0)
    with progress_bar("looks", replications) as bar:
        for i in range(replications):
            rng = np.random.default_rng((seed, 100, i))
            log = draw_requests(rng, _LOOKS * _A_DAY, same_C)
            gains = [gain(log, rng.dirichlet(np.ones(_ITEMS))) for _ in range(_CANDIDATES)]
            p_K = np.array([p_value(one, _LOOKS) for one in gains])
            wrong["sequence_one"] += bool(p_value(gains[0], _LOOKS) < ALPHA)
            wrong["holm_sequence"] += bool(holm(p_K, ALPHA).any())
            wrong["normal_looks"] += any(_above(gains[0].until(n)) for n in _each_look())
            wrong["normal_best"] += any(_above(one) for one in gains)
            bar.advance()
    shares = {name: round(count / replications, 4) for name, count in wrong.items()}
    return {"looks": _LOOKS, "candidates": _CANDIDATES, "requests": _LOOKS * _A_DAY, **shares,
            "stream": _stream(max(replications // _STREAMS, 1), seed)}  # fmt: skip


def _each_look() -> range:
    return range(_A_DAY, _LOOKS * _A_DAY + 1, _A_DAY)


def _above(gain: Wager) -> bool:
    return normal(gain.score_N, ALPHA).lower > 0


def _stream(streams: int, seed: int) -> dict[str, Any]:
    """Judge a new candidate every day, the k-th at its share of alpha."""
    same_C = np.full(_ITEMS, RATE)
    wrong = 0
    with progress_bar("a candidate a day", streams) as bar:
        for i in range(streams):
            rng = np.random.default_rng((seed, 200, i))
            wrong += any(
                _promoted(rng, same_C, share_of(ALPHA, day)) for day in range(1, _DAYS + 1)
            )
            bar.advance()
    return {"days": _DAYS, "streams": streams, "promoted": round(wrong / streams, 4)}


def _promoted(rng: np.random.Generator, chance_C: Floats, alpha: float) -> bool:
    found = gain(draw_requests(rng, _A_DAY, chance_C), rng.dirichlet(np.ones(_ITEMS)))
    return bool(p_value(found) < alpha)
