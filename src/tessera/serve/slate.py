"""A slate as it was shown, and as it is logged: every probability that chose it.

Shapes: C candidates, L positions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from tessera.contracts.arrays import Float32s, Float64s, Ints
from tessera.contracts.tables import UNEXPLORED
from tessera.shared.policies.slate import EMPTY

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(moment: int) -> datetime:
    """Return microseconds since 1970 as a time."""
    return _EPOCH + timedelta(microseconds=moment)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the policy drew for one request."""

    candidate_ids: tuple[str, ...]
    source_C: tuple[str, ...]
    """Retriever that found each candidate."""
    score_C: Float32s
    chosen_L: Ints
    """Index of the candidate at each position, none where nothing was left."""
    propensity_L: Float64s
    probability_LC: Float64s

    def shown(self) -> list[int]:
        """Return the candidates shown, from the top."""
        return [int(one) for one in self.chosen_L if one != EMPTY]


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that was read from a table of the bundle."""

    name: str
    value: float
    as_of: datetime
    source: str
    """The table."""


@dataclass(frozen=True, slots=True)
class Slate:
    """One answer."""

    request_id: str
    user_id: str
    moment: int
    """When it was asked for, in microseconds since 1970."""
    policy_id: str
    context_version: str
    drawn: Drawn
    reasons: dict[str, str]
    flags: tuple[str, ...]
    removed: dict[str, int] = field(default_factory=dict)
    """Items of the catalogue and candidates that rules took away, by reason."""
    figures: dict[str, tuple[Figure, ...]] = field(default_factory=dict)
    """What was read of each item for people."""
    took_s: dict[str, float] = field(default_factory=dict, compare=False)
    """Seconds of each step; two slates of the same items are the same, however long they took."""
    facts: dict[str, dict[str, str]] = field(default_factory=dict, compare=False)
    """Name and category of each item shown, for people."""
    chances: dict[str, Float32s] | None = field(default=None, compare=False)
    """Probability of each outcome of the items shown where they stand, from the top; None where
    nobody says any."""

    @property
    def version(self) -> str:
        """Bundle that answered."""
        return self.policy_id.partition("/")[0]


def best(drawn: Drawn, k: int) -> Drawn:
    """Return the k best candidates instead of what was drawn."""
    first = np.argsort(-drawn.score_C, kind="stable")[:k]
    chosen_L = np.full(k, EMPTY)
    chosen_L[: len(first)] = first
    sure_LC = np.zeros((k, len(drawn.score_C)))
    sure_LC[np.arange(len(first)), first] = 1.0
    return replace(drawn, chosen_L=chosen_L, propensity_L=np.ones(k), probability_LC=sure_LC)


def greedy(policy_id: str) -> str:
    """Return the id of a policy that shows the best, so that nobody judges by its slates."""
    return policy_id if policy_id.endswith(UNEXPLORED) else f"{policy_id}{UNEXPLORED}"
