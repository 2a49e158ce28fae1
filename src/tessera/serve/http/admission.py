"""Whether a request is let in: how often its sender asks, and how long it would have to wait.

Both are asked before a body is read, so that turning a request away costs next to nothing.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

from tessera.serve import measures
from tessera.serve.http.problems import Refused

_MOST_SENDERS = 10_000
"""Whose buckets are kept; the one that was silent longest is forgotten, as if it were full."""
_WEIGHT = 0.05
"""Of the newest time in the mean."""
_FIRST_S = 0.005
"""Mean before anything was answered."""
_EXPECTED = 0.5
"""Share of the deadline that a request may be expected to take: some take longer than the mean."""


class Rates:
    """A bucket of tokens for each sender: `burst` at most, `per_s` more each second."""

    def __init__(self, per_s: float, burst: int, now: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._burst, self._now = per_s, burst, now
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, sender: str) -> None:
        """Take a token.

        Raises
        ------
        Refused
            With status 429, if there is none.
        """
        now = self._now()
        tokens, then = self._left.pop(sender, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - then) * self._per_s)
        is_there = tokens >= 1
        self._left[sender] = (tokens - is_there, now)
        if len(self._left) > _MOST_SENDERS:
            self._left.popitem(last=False)
        if not is_there:
            measures.SHED.labels("rate").inc()
            detail = f"{self._per_s:g} requests a second may be sent; send it again later"
            wait_s = math.ceil((1 - tokens) / self._per_s)
            raise Refused(429, "Too many requests", detail, after_s=wait_s)


class Admission:
    """Lets in what can be answered in time.

    While anything is under way, the time between two answers is what one request costs, however
    many threads work on it; so a request that finds n others waits for about n + 1 of these.
    """

    def __init__(
        self, most: int, deadline_s: float, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._most, self._deadline_s, self._now = most, deadline_s, now
        self._inside, self._mean_s, self._since = 0, _FIRST_S, 0.0

    def check(self) -> None:
        """Turn a request away that would not be answered in time; one alone is always let in.

        Raises
        ------
        Refused
            With status 429.
        """
        expected_s = (self._inside + 1) * self._mean_s
        if self._inside and (
            self._inside >= self._most or expected_s > _EXPECTED * self._deadline_s
        ):
            measures.SHED.labels("busy").inc()
            raise Refused(429, "Busy", "more is asked than can be answered in time: send it later")

    def enter(self) -> None:
        """Begin to work on a request."""
        if not self._inside:
            self._since = self._now()
        self._inside += 1
        measures.IN_FLIGHT.inc()

    def leave(self) -> None:
        """End it."""
        now = self._now()
        self._mean_s += _WEIGHT * (now - self._since - self._mean_s)
        self._since = now
        self._inside -= 1
        measures.IN_FLIGHT.dec()
