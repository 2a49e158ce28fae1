"""What the last minutes were like in this process, from what is counted for Prometheus."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tessera.serve.measures import EXPLORED, POSITIONS, REQUEST_S

WINDOW_S = 300.0
"""So far back figures look at least, if somebody looked at them before."""
_SLATES = "/v1/recommendations"


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts at a moment."""

    moment_s: float
    requests: float = 0.0
    below: Mapping[float, float] = field(default_factory=dict)
    """Slates answered within so many seconds."""
    positions: float = 0.0
    explored: float = 0.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What came between two counts."""

    span_s: float
    per_s: float
    """Requests of all kinds."""
    slates: int
    p50_ms: float | None
    """Of slates; None where there were none."""
    p99_ms: float | None
    explored: float | None
    """Share of positions whose item is not among the best of its slate."""


class Recently:
    """Counts of the last looks, and of the start."""

    def __init__(
        self, count: Callable[[], Counted] | None = None, window_s: float = WINDOW_S
    ) -> None:
        """Count from now on."""
        self._count, self._window_s = count or counted, window_s
        self._lock = threading.Lock()
        self._seen = deque([self._count()])

    def look(self) -> Figures:
        """Return what came since the last look before the window, or since the start."""
        with self._lock:
            now = self._count()
            while len(self._seen) > 1 and self._seen[1].moment_s <= now.moment_s - self._window_s:
                self._seen.popleft()
            self._seen.append(now)
            return between(self._seen[0], now)


def counted() -> Counted:
    """Read the counters."""
    below, requests = dict[float, float](), 0.0
    for metric in REQUEST_S.collect():
        for sample in metric.samples:
            if sample.name.endswith("_count"):
                requests += sample.value
            elif sample.name.endswith("_bucket") and sample.labels["route"] == _SLATES:
                bound = float(sample.labels["le"])
                below[bound] = below.get(bound, 0.0) + sample.value
    positions, explored = (
        sum(one.value for metric in counter.collect() for one in metric.samples
            if one.name.endswith("_total"))
        for counter in (POSITIONS, EXPLORED)
    )  # fmt: skip
    return Counted(time.monotonic(), requests, below, positions, explored)


def between(before: Counted, after: Counted) -> Figures:
    """Return what came between two counts.

    >>> told = between(Counted(0.0), Counted(10.0, 40, {0.01: 10, 0.02: 20, float("inf"): 20}))
    >>> told.per_s, told.slates, told.p50_ms, told.p99_ms, told.explored
    (4.0, 20, 10.0, 19.8, None)
    """
    span = max(after.moment_s - before.moment_s, 1e-9)
    below = {bound: count - before.below.get(bound, 0.0) for bound, count in after.below.items()}
    positions = after.positions - before.positions
    return Figures(
        span,
        (after.requests - before.requests) / span,
        int(below.get(float("inf"), 0)),
        _quantile(below, 0.5),
        _quantile(below, 0.99),
        (after.explored - before.explored) / positions if positions else None,
    )


def _quantile(below: Mapping[float, float], share: float) -> float | None:
    """Return milliseconds, straight between the bounds of a histogram."""
    wanted, low, count = share * below.get(float("inf"), 0.0), 0.0, 0.0
    if not wanted:
        return None
    for bound in sorted(below):
        if below[bound] >= wanted and bound < float("inf"):
            part = (wanted - count) / (below[bound] - count)
            return round(1000 * (low + part * (bound - low)), 1)
        if bound < float("inf"):
            low, count = bound, below[bound]
    return round(1000 * low, 1)  # longer than any bound
