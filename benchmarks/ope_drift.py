"""How often the gate promotes wrongly while the lift drifts, or lives in a few investors.

Usage: python -m benchmarks.ope_drift [--logs 1000] [--processes 2] [--seed 0]
A killed run goes on where it was (data/bench/ope_drift.jsonl).

One item of five a request, investors of their own pace, a candidate whose lift changes while the
log is written.  A promotion is wrong at a look where the mean lift over the requests seen, or over
the last third of them, is not above 0.  Every log is looked at after each twentieth; the gate's own
conditions are asked, and beside them what the gate did before.  In the worlds of clusters a few
investors differ in lift and the lift over all investors that there could be is 0.

Shapes: N requests, C items, U investors.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.common import Kept, each, spans, sum_of, write_result
from benchmarks.ope_before import flipped_floor, flipped_score, growing_bets
from benchmarks.ope_rule import promotes, sequence_above
from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.offpolicy.holm import share_of
from tessera.offpolicy.paired import distinct, paired_scores
from tessera.offpolicy.replay import logging_policy, replay
from tessera.offpolicy.requests import Requests
from tessera.offpolicy.sequences import Wager
from tessera.stages.ope.conditions import Scored
from tessera.stages.ope.params import OpeParams

_REQUESTS, _ITEMS, _USERS, _DAYS, _LOOKS = 20_000, 5, 2000, 120, 20
_RATE, _SIZE = 0.3, 0.25
_PARAMS = OpeParams()
_CAP_BEFORE = 5.0
_WANTED_C = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
_EVEN_C = np.full(_ITEMS, 1 / _ITEMS)

Time = Callable[[Float64s], Float64s]
"""From the share of the log that is over, 0 to 1, to something that changes."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How the world changes while it is logged."""

    lift: Time
    """Lift of the candidate, in units of `_SIZE` times what it could gain at most."""
    logger: Time = np.zeros_like
    """How far the logging policy has come to the candidate."""
    joined: Time = np.zeros_like
    """Share of requests by investors whose lift is the opposite."""


def _step(time_N: Float64s) -> Float64s:
    return np.where(time_N < 0.5, 1.0, -1.0)


WORLDS = {
    "no lift at all": Drift(np.zeros_like),
    "step": Drift(_step),
    "smooth": Drift(lambda time_N: 1 - 2 * time_N),
    "seasonal": Drift(lambda time_N: np.sin(4 * np.pi * time_N)),
    "novelty wears off": Drift(lambda time_N: 2 * np.exp(-6 * time_N) - 0.1),
    "logging policy drifts": Drift(_step, logger=lambda time_N: 0.8 * time_N),
    "mix of investors drifts": Drift(np.ones_like, joined=lambda time_N: time_N),
}
_CLUSTERS = (50, 100, 200, 1000)
_NONE = 1e-12
"""Sums of lifts that cancel are 0 but for rounding."""
_GROUP = 20
"""Logs that are kept together."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """One log as the gate takes it."""

    scored: Scored
    before_N: Float64s
    """What was bounded before."""
    true_N: Float64s
    """Expected lift of each request."""


def _unit_lift() -> Float64s:
    """Return chances by item, around 0, of which the candidate gains 1 over an even policy."""
    lean_C = _WANTED_C - _WANTED_C.mean()
    return np.asarray(lean_C / float(_WANTED_C @ lean_C))


def draw(drift: Drift, rng: np.random.Generator) -> Drawn:
    """Log one drifting world."""
    time_N = (np.arange(_REQUESTS) + 0.5) / _REQUESTS
    share_N = drift.logger(time_N)[:, None]
    served_NC = (1 - share_N) * _EVEN_C + share_N * _WANTED_C
    turned_N = rng.random(_REQUESTS) < drift.joined(time_N)
    size_N = _SIZE * _RATE * drift.lift(time_N) * np.where(turned_N, -1.0, 1.0)
    expected_N = _SIZE * _RATE * drift.lift(time_N) * (1 - 2 * drift.joined(time_N))
    gained_N = expected_N * (1 - share_N[:, 0])  # what the logging policy gains by now, too
    user_N = rng.integers(0, _USERS, _REQUESTS)
    return _logged(rng, served_NC, size_N, gained_N, user_N)


def draw_clusters(users: int, rng: np.random.Generator) -> Drawn:
    """Log investors who differ in lift, drawn from a population whose mean lift is 0."""
    lift_U = _SIZE * _RATE * rng.normal(size=users)
    user_N = rng.integers(0, users, _REQUESTS)
    served_NC = np.broadcast_to(_EVEN_C, (_REQUESTS, _ITEMS))
    return _logged(rng, served_NC, lift_U[user_N], np.zeros(_REQUESTS), user_N)


def _logged(
    rng: np.random.Generator, served_NC: Float64s, size_N: Float64s, true_N: Float64s, user_N: Ints
) -> Drawn:
    chance_NC = np.clip(_RATE + size_N[:, None] * _unit_lift(), 0.0, 1.0)
    chosen_N = (rng.random(_REQUESTS)[:, None] > np.cumsum(served_NC, axis=1)).sum(axis=1)
    chosen_N = np.minimum(chosen_N, _ITEMS - 1)
    row_N = np.arange(_REQUESTS)
    clicked_N = rng.random(_REQUESTS) < chance_NC[row_N, chosen_N]
    log = Requests(
        request_ids=None,
        event_us_N=row_N * _DAYS * DAY_US // _REQUESTS,
        user_N=user_N,
        user_ids=None,
        risk_N=np.ones(_REQUESTS, dtype=np.int64),
        capacity_N=np.ones(_REQUESTS, dtype=np.int64),
        candidate_NC=np.broadcast_to(np.arange(_ITEMS), (_REQUESTS, _ITEMS)),
        chosen_NL=chosen_N[:, None],
        served_NLC=served_NC[:, None, :],
        propensity_NL=served_NC[row_N, chosen_N][:, None],
        reward_NL=clicked_N[:, None].astype(float),
        dismissed_NL=np.zeros((_REQUESTS, 1)),
    )
    wanted_NLC = np.broadcast_to(_WANTED_C, log.served_NLC.shape)
    policies = replay(log, wanted_NLC), logging_policy(log)
    guess_NLC = np.full(log.served_NLC.shape, _RATE)
    open_NC = np.ones((_REQUESTS, _ITEMS), dtype=bool)
    paired = [
        paired_scores(log, policies, open_NC, guess_NLC, *caps)
        for caps in distinct(_PARAMS.caps, policies[1], log)
    ]
    wagers = tuple(Wager(one.score_N, one.floor) for one in paired)
    scored = Scored(wagers, paired[-1].score_N, 1.0, user_N, log.event_us_N)
    return Drawn(scored, flipped_score(log, *policies, guess_NLC, _CAP_BEFORE), true_N)


def _until(scored: Scored, seen: int, look: int) -> Scored:
    """Return what was known at a look."""
    wagers = tuple(wager.until(seen) for wager in scored.wagers)
    known = scored.user_N[:seen], scored.event_us_N[:seen]
    return Scored(wagers, scored.score_N[:seen], scored.most, *known, look)


def ask(drawn: Drawn, looks: int) -> dict[str, bool]:
    """Look again and again; tell which rule ever promoted wrongly, and which does at the end."""
    level = share_of(_PARAMS.alpha, 1)
    wrong = dict.fromkeys(("gate", "sequence", "before"), False)
    ends = np.linspace(0, _REQUESTS, looks + 1).astype(int)[1:].tolist()
    for look, seen in enumerate(ends, start=1):
        true_N, scored = drawn.true_N[:seen], _until(drawn.scored, seen, look)
        none_seen = bool(true_N.mean() <= _NONE)
        if not none_seen and true_N[seen - seen // 3 :].mean() > _NONE:
            continue
        wrong["gate"] |= promotes(scored, level)
        # The sequence alone bounds the mean over the requests seen and says nothing of the rest.
        wrong["sequence"] |= none_seen and sequence_above(scored, level)
        if not wrong["before"]:
            bound = growing_bets(drawn.before_N[:seen], flipped_floor(1, _CAP_BEFORE), level)
            wrong["before"] = bound > 0
    return wrong


Draws = dict[str, tuple[Callable[[np.random.Generator], Drawn], int]]
"""By world: how a log is drawn, and how often it is looked at."""


def _draws() -> Draws:
    drifts = {name: (partial(draw, drift), _LOOKS) for name, drift in WORLDS.items()}
    clusters: Draws = {
        f"{users} investors who differ": (partial(draw_clusters, users), 1) for users in _CLUSTERS
    }
    return drifts | clusters


def count(piece: tuple[str, int, int], seed: int) -> dict[str, int]:
    """Count wrong promotions in the logs of a world from a number to the one before another."""
    (world, begin, end), draws = piece, _draws()
    drawn, looks = draws[world]
    number = list(draws).index(world)
    found: Counter[str] = Counter()
    for one in range(begin, end):
        found.update(ask(drawn(np.random.default_rng((seed, number, one))), looks))
    return dict(found)


def measure(logs: int, seed: int, processes: int) -> dict[str, Any]:
    """Count wrong promotions in every world."""
    draws, groups = _draws(), spans(logs, _GROUP)
    pieces = [(world, *span) for world in draws for span in groups]
    kept = Kept("ope_drift", {"seed": seed})
    found = each(partial(count, seed=seed), pieces, "drift", kept, processes)
    rows = {}
    for number, (world, (_, looks)) in enumerate(draws.items()):
        total = sum_of(found[number * len(groups) : (number + 1) * len(groups)])
        shares = {rule: round(wrong / logs, 4) for rule, wrong in total.items()}
        rows[world] = {"looks": looks, **shares}
    return rows


def main() -> None:
    """Measure and write results/ope_drift.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if min(given.logs, given.processes) < 1:
        parser.error("at least one log and one process")
    figures = {
        "logs": given.logs,
        "seed": given.seed,
        "requests": _REQUESTS,
        "level": share_of(_PARAMS.alpha, 1),
        "wrong": measure(given.logs, given.seed, given.processes),
    }
    write_result("ope_drift", figures)


if __name__ == "__main__":
    main()
