"""Whether a better candidate beats a *published* champion, and a worse one is rejected.

Usage: python -m benchmarks.ope_published [--logs 24] [--processes 2] [--seed 0]
       [--requests 67000]
A killed run goes on where it was (data/bench/ope_published.jsonl).

Slates of three from ten, investors with tastes of their own, a champion of rate .35 that knows a
part of them.  The log was written by an older policy, as after a first publication, or by the
champion itself, as a service would.  Candidates know more by +2 to +8 %: as a refinement of the
champion, or as models trained anew that err elsewhere and so show other slates.  All bounds are
asked on the same logs: the whole rule of the gate at its first look, its sequence alone, an
asymptotic sequence, and what the gate bounded before.

Shapes: N requests, X contexts, C candidates, L positions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.optimize import brentq

from benchmarks.common import Kept, each, write_result
from benchmarks.ope_before import flipped_floor, flipped_score, growing_bets
from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.offpolicy.estimators import cascade_dr
from tessera.offpolicy.holm import share_of
from tessera.offpolicy.paired import distinct, paired_scores
from tessera.offpolicy.replay import Replay, logging_policy, scored_replay, slate_log
from tessera.offpolicy.requests import Requests
from tessera.offpolicy.sequences import Wager, asymptotic_upper
from tessera.shared.policies.slate import SlatePolicy, position_marginals, sample_slates
from tessera.stages.ope.conditions import Scored, lower_bounds, upper_path
from tessera.stages.ope.params import OpeParams

_CONTEXTS, _USERS, _CANDIDATES, _DAYS = 8000, 4000, 10, 135
_EXAMINED_L = np.array([1.0, 0.8, 0.6])
_LENGTH = len(_EXAMINED_L)
_RATE = 0.35
_KNOWN, _ERRS = 0.35, 0.5
"""Weight of taste and of errors in the scores of the champion."""
_LIFTS = (0.02, 0.04, 0.08)
_WORSE = -0.072
_OLDER = SlatePolicy(temperature=1.0, epsilon=0.3, top_k=_CANDIDATES)
_SERVED = SlatePolicy(temperature=0.5, epsilon=0.2, top_k=_CANDIDATES)
_PARAMS = OpeParams()
_LOOKS = 20
_CAP_BEFORE = 5.0


@dataclass(frozen=True, slots=True)
class World:
    """What investors like, what they were shown by, and what would be shown instead."""

    chance_XC: Float64s
    older_XC: Float64s
    champion_XC: Float64s
    taste_XC: Float64s
    """What a candidate may know more of than the champion, or know wrongly."""
    other_XC: Float64s
    """Errors of a model that was trained anew."""

    def value(self, score_XC: Float64s, policy: SlatePolicy) -> float:
        """Rewards per request, exactly."""
        shown_XLC = position_marginals(score_XC, _open(_CONTEXTS), policy, _LENGTH)
        return float((shown_XLC * self.chance_XLC).sum(axis=(1, 2)).mean())

    @property
    def chance_XLC(self) -> Float64s:
        """Chance of a reward by position."""
        return np.asarray(self.chance_XC[:, None, :] * _EXAMINED_L[:, None])

    def candidate(self, lift: float, anew: float) -> Float64s:
        """Scores that are better, or worse, than the champion's by this share of its rate.

        `anew` is the share of its errors that are not the champion's (in variance).
        """
        wanted = self.value(self.champion_XC, _SERVED) * (1 + lift)
        kept_XC = self.champion_XC - _KNOWN * self.taste_XC
        errs_XC = np.sqrt(1 - anew) * kept_XC + np.sqrt(anew) * self.other_XC
        start_XC = _KNOWN * self.taste_XC + errs_XC

        def off(share: float) -> float:
            return self.value(start_XC + share * self.taste_XC, _SERVED) - wanted

        return np.asarray(start_XC + _root(off, 0.0, 4.0 * np.sign(lift)) * self.taste_XC)


def _root(off: Callable[[float], float], low: float, high: float) -> float:
    """Find where `off` changes its sign."""
    return float(brentq(off, low, high, xtol=1e-6))


@cache
def make_world(seed: int) -> World:
    """Plant tastes and tune the general rate so that the champion earns what it should."""
    rng = np.random.default_rng((seed, 1))
    taste_XC = rng.normal(size=(_CONTEXTS, _CANDIDATES))
    noise = rng.normal(size=(3, _CONTEXTS, _CANDIDATES))
    plain_XC = np.exp(0.6 * taste_XC - 0.18)
    older_XC = 0.2 * taste_XC + 0.4 * noise[0]
    champion_XC = _KNOWN * taste_XC + _ERRS * noise[1]

    def made(rate: float) -> World:
        chance_XC = np.minimum(rate * plain_XC, 0.95)
        return World(chance_XC, older_XC, champion_XC, taste_XC, _ERRS * noise[2])

    rate = _root(lambda rate: made(rate).value(champion_XC, _SERVED) - _RATE, 0.01, 0.5)
    return made(rate)


@dataclass(frozen=True, slots=True)
class Logged:
    """One log with the context of each request."""

    log: Requests
    x_N: Ints
    guess_NLC: Float64s
    """Reward model: half of what is known of the chance, never by investor."""


def serve(
    world: World, score_XC: Float64s, policy: SlatePolicy, requests: int, rng: np.random.Generator
) -> Logged:
    """Log requests over some months."""
    x_N = rng.integers(0, _CONTEXTS, requests)
    chosen_NL, propensity_NL, served_NLC = sample_slates(
        score_XC[x_N], _open(requests), policy, _LENGTH, rng
    )
    at = x_N[:, None], np.arange(_LENGTH), chosen_NL
    mean = float(world.chance_XC.mean())
    log = Requests(
        request_ids=pa.nulls(requests),
        event_us_N=np.arange(requests) * _DAYS * DAY_US // requests,
        user_N=x_N % _USERS,
        user_ids=pa.array(np.arange(_USERS)),
        risk_N=np.ones(requests, dtype=np.int64),
        capacity_N=np.ones(requests, dtype=np.int64),
        candidate_NC=np.broadcast_to(np.arange(_CANDIDATES), (requests, _CANDIDATES)),
        chosen_NL=chosen_NL,
        served_NLC=served_NLC,
        propensity_NL=propensity_NL,
        reward_NL=(rng.random(chosen_NL.shape) < world.chance_XLC[at]).astype(float),
        dismissed_NL=np.zeros(chosen_NL.shape),
    )
    known_NC = (world.chance_XC[x_N] + mean) / 2
    return Logged(log, x_N, known_NC[:, None, :] * _EXAMINED_L[:, None])


def _open(rows: int) -> Bools:
    return np.ones((rows, _CANDIDATES), dtype=bool)


Answers = dict[str, float]


def ask(logged: Logged, candidate: Replay, champion: Replay) -> Answers:
    """Ask every bound whether it sees a lift, and the gate whether the candidate is worse."""
    log, level = logged.log, share_of(_PARAMS.alpha, 1)
    both = candidate, champion
    paired = [
        paired_scores(log, both, _open(len(log)), logged.guess_NLC, *caps)
        for caps in distinct(_PARAMS.caps, champion, log)
    ]
    lift_N = np.subtract(
        *(cascade_dr(slate_log(log, one, log.reward_NL, logged.guess_NLC)) for one in both)
    )
    wagers = tuple(Wager(one.score_N, one.floor) for one in paired)
    scored = Scored(wagers, paired[-1].score_N, _LENGTH, log.user_N, log.event_us_N)
    found = lower_bounds(scored, level)
    at_T = np.linspace(0, len(log), _LOOKS + 1).astype(int)[1:]
    before_N = flipped_score(log, candidate, champion, logged.guess_NLC, _CAP_BEFORE)
    before = growing_bets(before_N, flipped_floor(_LENGTH, _CAP_BEFORE), level)
    return {
        "gate": found.hold(0.0),
        "sequence": found.sequence > 0,
        "by investor": found.investors > 0,
        "last third": found.last_third > 0,
        "last 30 days": found.last_month > 0,
        "asymptotic": asymptotic_upper(-lift_N, level, at_T[-1:])[0] < 0,
        "before": before > 0,
        "rejected": upper_path(lift_N, level, at_T[-1:])[0] < 0,
        "rejected at any look": (upper_path(lift_N, level, at_T) < 0).any(),
        "standard error": float(lift_N.std() / len(log) ** 0.5),
        "standard error before": float(before_N.std() / len(log) ** 0.5),
        "paid": float(paired[-1].paid_N.mean()),
    }


@dataclass(frozen=True, slots=True)
class Setting:
    """Who wrote the log, who is champion, and how much better the candidate is."""

    name: str
    by_champion: bool
    lift: float
    anew: float = 0.0
    champion_is_logger: bool = False
    flat: bool = False
    """Every item is equally good, so that nothing is better or worse."""


_LOGS = {False: "older policy's log", True: "champion's log"}
_KINDS = {"refined": 0.0, "trained anew": 0.3, "another model": 1.0}
_FLAT_TIMES = 3
"""Where nothing is better errors are counted, on more logs."""
SETTINGS = (
    *(
        Setting(f"{log}, {kind} {lift:+.0%}", by_champion, lift, anew)
        for by_champion, log in _LOGS.items()
        for kind, anew in _KINDS.items()
        for lift in _LIFTS
    ),
    Setting(f"{_WORSE:+.1%} over the policy that served", True, _WORSE, 1.0, True),
    Setting("older policy's log, no item better", False, 0.04, 0.3, flat=True),
    Setting("policy that served, no item better", True, 0.04, 0.3, True, flat=True),
)


def draw(
    setting: Setting, world: World, score_XC: Float64s, rng: np.random.Generator, requests: int
) -> tuple[Logged, Replay, Replay]:
    """Draw one log of a setting; return it with the candidate and the champion on it."""
    if setting.flat:
        world = replace(world, chance_XC=np.full_like(world.chance_XC, world.chance_XC.mean()))
    by = (world.champion_XC, _SERVED) if setting.by_champion else (world.older_XC, _OLDER)
    logged = serve(world, *by, requests, rng)
    log, x_N, open_NC = logged.log, logged.x_N, _open(requests)
    candidate = scored_replay(log, score_XC[x_N], open_NC, _SERVED)
    champion = (
        logging_policy(log)
        if setting.champion_is_logger
        else scored_replay(log, world.champion_XC[x_N], open_NC, _SERVED)
    )
    return logged, candidate, champion


def measure(
    setting: Setting, world: World, score_XC: Float64s, rng: np.random.Generator, requests: int
) -> Answers:
    """Draw one log of a setting and ask."""
    found = ask(*draw(setting, world, score_XC, rng, requests))
    return {name: float(value) for name, value in found.items()}


@cache
def candidate_of(seed: int, lift: float, anew: float) -> Float64s:
    """Return the scores of a candidate; see `World.candidate`."""
    return make_world(seed).candidate(lift, anew)


def _row(seed: int, requests: int, piece: tuple[int, int]) -> Answers:
    """Ask on one log of one setting."""
    number, log = piece
    setting = SETTINGS[number]
    score_XC = candidate_of(seed, setting.lift, setting.anew)
    rng = np.random.default_rng((seed, 2, number, log))
    return measure(setting, make_world(seed), score_XC, rng, requests)


def run(logs: int, seed: int, requests: int, processes: int) -> dict[str, Any]:
    """Ask on so many logs of each setting."""
    many = [logs * (_FLAT_TIMES if setting.flat else 1) for setting in SETTINGS]
    pieces = [(number, log) for number, times in enumerate(many) for log in range(times)]
    # All settings grow together, so that what is kept of a long run is a short run of its own.
    pieces.sort(key=lambda piece: piece[1] / many[piece[0]])
    kept = Kept("ope_published", {"seed": seed, "requests": requests})
    rows = each(partial(_row, seed, requests), pieces, "published champion", kept, processes)
    told: dict[str, list[Answers]] = {}
    for (number, _), row in zip(pieces, rows, strict=True):
        told.setdefault(SETTINGS[number].name, []).append(row)
    return {
        "logs": logs,
        "logs_where_nothing_is_better": logs * _FLAT_TIMES,
        "requests": requests,
        "seed": seed,
        "rate": _RATE,
        "level": share_of(_PARAMS.alpha, 1),
        "settings": {
            name: {key: round(float(np.mean([row[key] for row in of])), 5) for key in of[0]}
            for name, of in told.items()
        },
    }


def main() -> None:
    """Measure and write results/ope_published.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=24)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--requests", type=int, default=67_000)
    given = parser.parse_args()
    if min(given.logs, given.requests, given.processes) < 1:
        parser.error("at least one log of at least one request, and one process")
    found = run(given.logs, given.seed, given.requests, given.processes)
    write_result("ope_published", found)


if __name__ == "__main__":
    main()
