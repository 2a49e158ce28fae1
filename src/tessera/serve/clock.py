"""What time it is for the service: the wall clock, or for a simulated market a clock of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


def wall() -> int:
    """Return microseconds since 1970."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Clock:
    """The wall clock, moved by a fixed span."""

    ahead_us: int = 0
    """Microseconds that are added to the wall clock; a market of the past needs a negative span."""
    source: Callable[[], int] = wall

    def now(self) -> int:
        """Return microseconds since 1970."""
        return self.source() + self.ahead_us
