"""A world whose policy values are known, and logs of it that are sound, thin or damaged.

Shapes: N units, X contexts, C candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tessera.contracts.arrays import Float64s, Ints
from tessera.offpolicy.clusters import ClusterLog, single
from tessera.offpolicy.estimators import Log, effective_size

REQUESTS = 2000
_CONTEXTS, _CANDIDATES, _PER_CLUSTER = 50, 20, 4
_SEED = 20
_EAGER = 2.0
"""How far apart a policy's wishes are; among even ones a wrong propensity would do no harm."""
CAP = 5.0
"""The reward model under a confidence sequence is cut at cap / weight, as the gate cuts it."""


@dataclass(frozen=True, slots=True)
class Regime:
    """What the log is like."""

    ess: float
    """Effective sample size that the serving policy is tuned to."""
    rate: float = 0.2
    """About the mean reward."""
    duplicated: float = 0.0
    """Share of the events that is logged a second time."""
    misjoined: float = 0.0
    """Share of the events that carry the propensity of another."""
    users: int = 500
    """How many the requests are drawn from."""
    user_effect: float = 0.0
    """Half of the users click more than the chance by this share, the others less."""


REGIMES = {
    "good overlap": Regime(1200),
    "ESS 200": Regime(200),
    "ESS 10": Regime(10),
    "rare rewards": Regime(1200, rate=0.005),
    "30 % duplicated": Regime(1200, duplicated=0.3),
    "20 % mis-joined": Regime(1200, misjoined=0.2),
    "users differ": Regime(1200, users=200, user_effect=1.0),
}


@dataclass(frozen=True, slots=True)
class Drawn:
    """One log, as single items and as clusters."""

    log: Log
    clusters: ClusterLog
    user_N: Ints


@dataclass(frozen=True, slots=True)
class World:
    """Both policies, the chances of a reward and a model of them that is right within clusters."""

    regime: Regime
    served_XC: Float64s
    wanted_XC: Float64s
    chance_XC: Float64s
    guess_XC: Float64s

    @property
    def truth(self) -> float:
        """Value of the new policy."""
        return float((self.wanted_XC * self.chance_XC).sum(axis=1).mean())

    def draw(self, rng: np.random.Generator) -> Drawn:
        """Log REQUESTS requests, damaged as the regime says."""
        x_N, chosen_N = _shown(self.served_XC, rng)
        luck_N = rng.random(REQUESTS)
        user_N = rng.integers(0, self.regime.users, REQUESTS)
        chance_N = self.chance_XC[x_N, chosen_N] * self._drawn_to(rng)[user_N]
        reward_N = (luck_N < chance_N).astype(float)
        rows = np.arange(REQUESTS)
        again = rng.choice(REQUESTS, round(self.regime.duplicated * REQUESTS), replace=False)
        rows = np.concatenate([rows, again])
        x_N, chosen_N, user_N = (array[rows] for array in (x_N, chosen_N, user_N))
        served_NC = self.served_XC[x_N]
        mixed = rng.choice(len(rows), round(self.regime.misjoined * len(rows)), replace=False)
        served_NC[mixed, chosen_N[mixed]] = rng.permutation(served_NC[mixed, chosen_N[mixed]])
        clusters = ClusterLog(
            reward_N=reward_N[rows],
            chosen_N=chosen_N,
            served_NC=served_NC,
            wanted_NC=self.wanted_XC[x_N],
            guess_NC=self.guess_XC[x_N],
            cluster_NC=np.tile(np.arange(_CANDIDATES) // _PER_CLUSTER, (len(rows), 1)),
        )
        log = single(clusters)
        return Drawn(log, clusters, np.unique(user_N, return_inverse=True)[1])

    def _drawn_to(self, rng: np.random.Generator) -> Float64s:
        """Factor of the chance by user, 1 on average: the users of each log are others."""
        effect = self.regime.user_effect
        if effect == 0:
            return np.ones(self.regime.users)
        return 1 + effect * rng.choice([-1.0, 1.0], self.regime.users)


def make_world(regime: Regime) -> World:
    """Plant chances and policies; the serving policy shies from what the new one wants."""
    rng = np.random.default_rng(_SEED)
    clusters = _CANDIDATES // _PER_CLUSTER
    level_XC = np.repeat(rng.normal(size=(_CONTEXTS, clusters)), _PER_CLUSTER, axis=1)
    own_XC = rng.normal(size=(_CONTEXTS, _CANDIDATES))
    most = 0.9 / (1 + regime.user_effect)  # else a cut chance would not average to the truth
    chance_XC = np.clip(regime.rate * np.exp(0.4 * level_XC + 0.2 * own_XC), 0, most)
    hope_XC = np.repeat(rng.random((_CONTEXTS, clusters)), _PER_CLUSTER, axis=1)
    taste_XC = _EAGER * (0.5 * level_XC + rng.normal(size=own_XC.shape))
    return World(
        regime=regime,
        served_XC=_softmax(-_aversion(taste_XC, regime.ess) * taste_XC),
        wanted_XC=_softmax(taste_XC),
        chance_XC=chance_XC,
        guess_XC=np.minimum(chance_XC + 0.5 * regime.rate * hope_XC, 1.0),
    )


def _aversion(taste_XC: Float64s, ess: float) -> float:
    """Bisect for the serving policy under which a typical log has this effective size."""

    def enough(aversion: float) -> bool:
        return _typical_ess(_softmax(-aversion * taste_XC), _softmax(taste_XC)) > ess

    return furthest(enough, -1.0, 30)


def furthest(enough: Callable[[float], bool], low: float, steps: int) -> float:
    """Bisect from `low` to 8 for the last value that is enough; it is up to some value."""
    high = 8.0
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if enough(middle) else (low, middle)
    return low


def _typical_ess(served_XC: Float64s, wanted_XC: Float64s) -> float:
    rng = np.random.default_rng(_SEED)
    found = []
    for _ in range(25):
        at = _shown(served_XC, rng)
        found.append(effective_size(wanted_XC[at] / served_XC[at]))
    return float(np.median(found))


def _shown(served_XC: Float64s, rng: np.random.Generator) -> tuple[Ints, Ints]:
    x_N = rng.integers(0, _CONTEXTS, REQUESTS)
    sums_NC = np.cumsum(served_XC[x_N], axis=1)
    sums_NC[:, -1] = 1.0
    return x_N, (rng.random(REQUESTS)[:, None] > sums_NC).sum(axis=1)


def _softmax(value_XC: Float64s) -> Float64s:
    odds_XC = np.exp(value_XC - value_XC.max(axis=1, keepdims=True))
    return np.asarray(odds_XC / odds_XC.sum(axis=1, keepdims=True))
