"""One request on its way through the steps: what was asked, and how each step went."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import numpy as np


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
    flags: list[str] = field(default_factory=list)
    took_s: dict[str, float] = field(default_factory=dict)
    """Seconds of each step."""

    @classmethod
    def of(cls, request_id: str, user_id: str, moment: int, k: int) -> Self:
        """Begin with a request."""
        return cls(request_id, user_id, moment, k, np.random.default_rng(seed(request_id)))

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
