"""Served slates of three positions whose true lift is known: every slate there can be is summed up.

The serving policy is the champion; the candidate follows the taste that it knows little of.

Shapes: N requests, X contexts, C candidates, L positions, S slates.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pyarrow as pa

from benchmarks.ope_world import furthest
from tessera.contracts.arrays import Float64s, Ints
from tessera.offpolicy.estimators import effective_size
from tessera.offpolicy.replay import logging_policy, scored_replay
from tessera.offpolicy.requests import Requests
from tessera.shared.policies.slate import (
    SlatePolicy,
    position_marginals,
    sample_slates,
    slate_propensities,
)
from tessera.stages.ope.case import Case, candidate_policy
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.spending import Standing

PARAMS = OpeParams(permutations=0)
REQUESTS = 2000
_CONTEXTS, _CANDIDATES, _USERS = 50, 8, 500
_PER_KIND = 2
_EXAMINED_L = np.array([1.0, 0.8, 0.6])
_LENGTH = len(_EXAMINED_L)
_SERVING = SlatePolicy(temperature=1.0, epsilon=0.2, top_k=_CANDIDATES)
_JUDGED = SlatePolicy(PARAMS.temperature, PARAMS.epsilon, PARAMS.top_k)
_SEED = 21
_TYPICAL = 15
"""Logs whose median effective size is tuned."""


@dataclass(frozen=True, slots=True)
class Regime:
    """What the log is like."""

    ess: float
    """Effective sample size that the candidate is tuned to."""
    rate: float = 0.1
    """About the mean reward of the first position."""
    boredom: float = 0.0
    """Share of its chance that an item loses right below one of its kind."""


REGIMES = {
    "good overlap": Regime(1200),
    "ESS 300": Regime(300),
    "rare rewards": Regime(1200, rate=0.005),
    "the item above matters": Regime(1200, boredom=0.8),
}


@dataclass(frozen=True, slots=True)
class Drawn:
    """One log with both policies on it."""

    case: Case
    guess_NLC: Float64s
    """Reward model, a little too high and blind to what stands above."""
    shown_NL: Float64s
    """P(item shown stands at this position), whatever stands above, under the serving policy."""
    wanted_NL: Float64s
    """The same under the candidate."""


@dataclass(frozen=True, slots=True)
class World:
    """Scores of both policies, the chances of a reward and a model of them."""

    regime: Regime
    served_XC: Float64s
    wanted_XC: Float64s
    chance_XC: Float64s
    guess_XC: Float64s
    shown_XLC: Float64s
    """Chance of each candidate to stand at each position under the serving policy."""
    sought_XLC: Float64s
    """The same under the candidate."""
    truth: float
    """Lift of the candidate over the serving policy, in rewards per request."""

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Log REQUESTS requests."""
        x_N, log = self._serve(rng)
        case = Case(
            log=log,
            candidate=scored_replay(log, self.wanted_XC[x_N], _open(REQUESTS), _JUDGED),
            champion=logging_policy(log),
            policy=candidate_policy(PARAMS, log),
            champion_policy=None,
            allowed_NC=_open(REQUESTS),
            unscored=0,
            score_hash="",
            standing=Standing("", 1),
        )
        at_NL = (x_N[:, None], np.arange(_LENGTH), log.chosen_NL)
        guess_NLC = self.guess_XC[x_N][:, None, :] * _EXAMINED_L[:, None]
        return Drawn(case, guess_NLC, self.shown_XLC[at_NL], self.sought_XLC[at_NL])

    def _serve(self, rng: np.random.Generator) -> tuple[Ints, Requests]:
        x_N = rng.integers(0, _CONTEXTS, REQUESTS)
        user_N = np.unique(rng.integers(0, _USERS, REQUESTS), return_inverse=True)[1]
        chosen_NL, propensity_NL, served_NLC = sample_slates(
            self.served_XC[x_N], _open(REQUESTS), _SERVING, _LENGTH, rng
        )
        chance_NL = chances(self.chance_XC, x_N, chosen_NL, self.regime.boredom)
        log = Requests(
            request_ids=pa.nulls(REQUESTS),
            event_us_N=np.arange(REQUESTS),
            user_N=user_N,
            user_ids=pa.array(np.unique(user_N)),
            risk_N=np.ones(REQUESTS, dtype=np.int64),
            capacity_N=np.ones(REQUESTS, dtype=np.int64),
            candidate_NC=np.broadcast_to(np.arange(_CANDIDATES), (REQUESTS, _CANDIDATES)),
            chosen_NL=chosen_NL,
            served_NLC=served_NLC,
            propensity_NL=propensity_NL,
            reward_NL=(rng.random(chosen_NL.shape) < chance_NL).astype(float),
            dismissed_NL=np.zeros(chosen_NL.shape),
            counts={"outcomes": 0, "outcomes_duplicate": 0,
                    "exposures_duplicate": 0, "exposures_outside_candidates": 0},
        )  # fmt: skip
        return x_N, log


def make_world(regime: Regime) -> World:
    """Plant chances and policies; the further the candidate follows the taste, the less overlap."""
    rng = np.random.default_rng(_SEED)
    taste_XC, own_XC, champion_XC = rng.normal(size=(3, _CONTEXTS, _CANDIDATES))
    hope_XC = rng.random((_CONTEXTS, _CANDIDATES))
    chance_XC = np.clip(regime.rate * np.exp(0.5 * taste_XC + 0.2 * own_XC), 0, 0.9)
    served_XC = 0.3 * champion_XC
    wanted_XC = served_XC + _eagerness(served_XC, taste_XC, regime.ess) * taste_XC
    open_XC = _open(_CONTEXTS)
    worth = [
        _value(chance_XC, regime.boredom, scores_XC, policy)
        for scores_XC, policy in ((wanted_XC, _JUDGED), (served_XC, _SERVING))
    ]
    return World(
        regime=regime,
        served_XC=served_XC,
        wanted_XC=wanted_XC,
        chance_XC=chance_XC,
        guess_XC=np.minimum(chance_XC + 0.5 * regime.rate * hope_XC, 1.0),
        shown_XLC=position_marginals(served_XC, open_XC, _SERVING, _LENGTH),
        sought_XLC=position_marginals(wanted_XC, open_XC, _JUDGED, _LENGTH),
        truth=worth[0] - worth[1],
    )


def chances(chance_XC: Float64s, x_N: Ints, chosen_NL: Ints, boredom: float) -> Float64s:
    """Chance of a reward at each position of a slate."""
    kind_NL = chosen_NL // _PER_KIND
    again_NL = np.zeros(chosen_NL.shape)
    again_NL[:, 1:] = kind_NL[:, 1:] == kind_NL[:, :-1]
    fresh_NL = chance_XC[x_N[:, None], chosen_NL] * _EXAMINED_L
    return np.asarray(fresh_NL * (1 - boredom * again_NL))


def _value(chance_XC: Float64s, boredom: float, scores_XC: Float64s, policy: SlatePolicy) -> float:
    """Rewards per request under a policy, summed over every slate of every context."""
    slate_SL = np.array(list(permutations(range(_CANDIDATES), _LENGTH)))
    x_N = np.repeat(np.arange(_CONTEXTS), len(slate_SL))
    chosen_NL = np.tile(slate_SL, (_CONTEXTS, 1))
    step_NL = slate_propensities(scores_XC[x_N], _open(len(x_N)), policy, chosen_NL)[0]
    reward_N = chances(chance_XC, x_N, chosen_NL, boredom).sum(axis=1)
    return float(step_NL.prod(axis=1) @ reward_N / _CONTEXTS)


def _eagerness(served_XC: Float64s, taste_XC: Float64s, ess: float) -> float:
    """Bisect for the weight of taste at which a typical log has this effective size."""
    x_N = np.random.default_rng(_SEED).integers(0, _CONTEXTS, _TYPICAL * REQUESTS)
    open_NC, rng = _open(len(x_N)), np.random.default_rng(_SEED)
    chosen_NL, served_NL, _ = sample_slates(served_XC[x_N], open_NC, _SERVING, _LENGTH, rng)

    def typical(eagerness: float) -> float:
        scores_NC = (served_XC + eagerness * taste_XC)[x_N]
        wanted_NL = slate_propensities(scores_NC, open_NC, _JUDGED, chosen_NL)[0]
        weight_N = (wanted_NL / served_NL).prod(axis=1)
        return float(np.median([effective_size(w_N) for w_N in np.split(weight_N, _TYPICAL)]))

    return furthest(lambda eagerness: typical(eagerness) > ess, 0.0, 20)


def _open(requests: int) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    return np.ones((requests, _CANDIDATES), dtype=bool)
