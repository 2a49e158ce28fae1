"""One request on its way through the steps: what was asked, and how each step went."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import numpy as np

GIVEN_UP = {"explain": 0.6, "retrieve": 0.6, "score": 0.8}
"""Share of the time after which a part is left out.  What comes last is asked last, so that
explanations go first, then dear retrievers, and the ranking head only where little is left."""
DEGRADED = "degraded"
"""Flag of an answer that something was left out of."""
FILLED = "filled"
"""Flag of an answer for which a rule gave way, because it left too few items."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """By when an answer has to leave."""

    begun: float
    """When the request came, by `time.perf_counter`."""
    span_s: float

    def used(self) -> float:
        """Return the share of the time that is gone."""
        return (time.perf_counter() - self.begun) / self.span_s


@dataclass(frozen=True, slots=True)
class Context:
    """What every step may read, and where it tells of itself."""

    request_id: str
    user_id: str
    moment: int
    """Microseconds since 1970; nothing from then on is read."""
    k: int
    """Positions."""
    rng: np.random.Generator
    """Follows from the request's id: the same request, state and bundle give the same slate."""
    deadline: Deadline | None = None
    """None waits for every part."""
    flags: list[str] = field(default_factory=list)
    removed: dict[str, int] = field(default_factory=dict)
    """What rules took away, by reason."""
    took_s: dict[str, float] = field(default_factory=dict)
    """Seconds of each step."""

    @classmethod
    def of(
        cls, request_id: str, user_id: str, moment: int, k: int, deadline: Deadline | None = None
    ) -> Self:
        """Begin with a request."""
        rng = np.random.default_rng(seed(request_id))
        return cls(request_id, user_id, moment, k, rng, deadline)

    def skips(self, part: str) -> bool:
        """Tell whether a part of `GIVEN_UP` is left out, and mark the answer if so.

        Where anything was left out, explanations are too.
        """
        if self.deadline is None:
            return False
        hurried = part == "explain" and DEGRADED in self.flags
        if not hurried and self.deadline.used() <= GIVEN_UP[part]:
            return False
        self.degrade()
        return True

    def degrade(self) -> None:
        """Mark the answer: something was left out."""
        if DEGRADED not in self.flags:
            self.flags.append(DEGRADED)

    def took_away(self, removed: Mapping[str, int], *, is_filled: bool) -> None:
        """Note what rules removed, and whether one of them gave way."""
        self.removed.update(removed)
        if is_filled and FILLED not in self.flags:
            self.flags.append(FILLED)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Take the time of a step."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.took_s[name] = time.perf_counter() - start


def seed(request_id: str) -> int:
    """Return the seed of a request's draws."""
    return int.from_bytes(hashlib.blake2b(request_id.encode(), digest_size=16).digest(), "little")
