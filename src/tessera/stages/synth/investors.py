"""Investors whose tastes follow their courage, so that risk, wealth and content all tell something.

Shapes: U users, K topics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tessera.contracts.arrays import Float64s, Ints
from tessera.stages.synth.assets import TOPICS
from tessera.stages.synth.params import SynthParams

SEGMENTS = ("young", "mass", "affluent", "private")
RESPONSE_BY_SEGMENT = np.array([1.9, 1.0, 0.5, 0.15])
"""How strongly a segment reacts to being shown something."""
RELUCTANCE_BY_SEGMENT = np.array([0.0, 0.0, 0.15, 0.6])
"""Share of what would be bought anyway that being shown it spoils."""
_UNASKED = 0.03
_CHANGES = 0.12
_LATE_JOINERS = 0.3


@dataclass(frozen=True, slots=True)
class Investors:
    """Everything that is true of investors; risk 0 means that the source does not know it."""

    taste_first_UK: Float64s
    taste_last_UK: Float64s
    wealth_U: Float64s
    risk_U2: Ints
    """Risk class before and after the change."""
    changed_day_U: Ints
    """Day of the change; beyond the log for most."""
    joined_day_U: Ints
    segment_U: Ints
    activity_U: Float64s

    def risk_on(self, user_N: Ints, day_N: Float64s) -> Ints:
        """Risk class in force, 0 where unknown."""
        after_N = (day_N >= self.changed_day_U[user_N]).astype(np.int64)
        return self.risk_U2[user_N, after_N]


def draw_investors(params: SynthParams, rng: np.random.Generator) -> Investors:
    """Draw investors with correlated courage, wealth, taste and risk class."""
    size = params.users
    courage_U = rng.normal(size=size)
    wealth_U = 0.4 * courage_U + np.sqrt(1 - 0.4**2) * rng.normal(size=size)
    first_UK = _tastes(courage_U, rng)
    moves_U = rng.random(size) < params.drift
    last_UK = np.where(moves_U[:, None], _tastes(courage_U, rng), first_UK)
    risk_U2, changed_day_U = _risk(courage_U, params.days, rng)
    joined_day_U = np.where(
        rng.random(size) < _LATE_JOINERS, rng.integers(0, int(params.days * 0.9), size), 0
    )
    segment_U = np.where(rng.random(size) < 0.3, 0, 1 + np.digitize(wealth_U, [0.3, 1.2]))
    activity_U = rng.gamma(1.5, size=size) + 0.1
    return Investors(
        first_UK,
        last_UK,
        wealth_U,
        risk_U2,
        np.maximum(changed_day_U, joined_day_U + 1),
        joined_day_U,
        segment_U,
        activity_U,
    )


def _tastes(courage_U: Float64s, rng: np.random.Generator) -> Float64s:
    """Draw unit vectors over topics; the bold lean towards risky topics."""
    risk_K = np.array([topic.risk for topic in TOPICS])
    logit_UK = 1.6 * rng.normal(size=(len(courage_U), len(TOPICS))) + 0.8 * np.outer(
        courage_U, risk_K
    )
    mass_UK = np.exp(logit_UK - logit_UK.max(axis=1, keepdims=True))
    taste_UK: Float64s = mass_UK / np.linalg.norm(mass_UK, axis=1, keepdims=True)
    return taste_UK


def _risk(courage_U: Float64s, days: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    size = len(courage_U)
    before_U = 1 + np.digitize(courage_U + 0.5 * rng.normal(size=size), [-0.8, 0.0, 0.8])
    before_U = np.where(rng.random(size) < _UNASKED, 0, before_U)
    after_U = np.clip(before_U + rng.choice([-1, 1], size), 1, 4)
    changes_U = rng.random(size) < _CHANGES
    day_U = np.where(changes_U, rng.integers(1, days, size), 100 * days)
    return np.stack([before_U, after_U], axis=1), day_U
