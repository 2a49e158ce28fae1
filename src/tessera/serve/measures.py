"""What the service counts of itself, for Prometheus; no id of anybody is a label.

Several processes count together where PROMETHEUS_MULTIPROC_DIR names a folder before this module
is imported.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.multiprocess import MultiProcessCollector

from tessera.serve.events import STATUSES, Status
from tessera.serve.slate import Slate

_MS = (0.5, 1, 2, 5, 10, 15, 20, 25, 35, 50, 75, 100, 250, 500, 1000, 5000)
_SECONDS = tuple(ms / 1000 for ms in _MS)
_TOGETHER = "PROMETHEUS_MULTIPROC_DIR"
REGISTRY = CollectorRegistry()

REQUEST_S = Histogram(
    "tessera_request_seconds", "From arrival to the last byte of an answer.",
    ["method", "route"], buckets=_SECONDS, registry=REGISTRY,
)  # fmt: skip
REQUESTS = Counter(
    "tessera_requests", "Requests answered.", ["method", "route", "status"], registry=REGISTRY
)
SHED = Counter(
    "tessera_shed", "Requests turned away before they were read: rate, busy, memory.",
    ["reason"], registry=REGISTRY,
)  # fmt: skip
IN_FLIGHT = Gauge(
    "tessera_in_flight", "Requests under way.", registry=REGISTRY, multiprocess_mode="livesum"
)
STEP_S = Histogram(
    "tessera_step_seconds", "Steps of a slate.", ["step"], buckets=_SECONDS, registry=REGISTRY
)
SYNC_S = Histogram(
    "tessera_log_sync_seconds", "The disk took so long to hold a batch of the served log.",
    buckets=_SECONDS, registry=REGISTRY,
)  # fmt: skip
SLATES = Counter("tessera_slates", "Slates shown.", registry=REGISTRY)
FLAGS = Counter("tessera_flags", "Slates with a flag.", ["flag"], registry=REGISTRY)
POSITIONS = Counter(
    "tessera_positions", "Positions shown, by what found the item.", ["source"], registry=REGISTRY
)
REMOVED = Counter(
    "tessera_removed", "Items that a rule kept from a slate, by rule.", ["rule"], registry=REGISTRY
)
EXPLORED = Counter(
    "tessera_explored_positions", "Positions whose item is not among the best of its slate.",
    registry=REGISTRY,
)  # fmt: skip
EVENTS = Counter(
    "tessera_events",
    "Events sent: new, known before, or in conflict with what their id stands for.",
    ["kind"],
    registry=REGISTRY,
)
VERSION = Gauge(
    "tessera_version", "1 for the version that is served.", ["version"],
    registry=REGISTRY, multiprocess_mode="livemax",
)  # fmt: skip
REFUSED = Gauge(
    "tessera_refused", "1 while a process refuses what is wanted as current, canary or shadow.",
    ["role"], registry=REGISTRY, multiprocess_mode="livemax",
)  # fmt: skip
EXPLORES = Gauge(
    "tessera_explores", "1 while slates are drawn, 0 while exploration is stopped.",
    registry=REGISTRY, multiprocess_mode="livemin",
)  # fmt: skip
SHADOW = Counter(
    "tessera_shadow", "Slates that the shadow was asked for: scored, missed, failed, unlogged.",
    ["kind"], registry=REGISTRY,
)  # fmt: skip
MEMORY = Gauge(
    "tessera_resident_bytes", "Memory of a process.", registry=REGISTRY, multiprocess_mode="liveall"
)
EXPLORES.set(1)
_API = "/v1/"
_UNREAD = ("unread", "503")
"""Route and status of a connection that was one too many."""
_SERVED: set[str] = set()


def count_slate(slate: Slate) -> None:
    """Count a slate that leaves: its steps, flags and positions."""
    for step, seconds in slate.took_s.items():
        STEP_S.labels(step).observe(seconds)
    SLATES.inc()
    for flag in slate.flags:
        FLAGS.labels(flag).inc()
    for rule, count in slate.removed.items():
        REMOVED.labels(rule).inc(count)
    shown = slate.drawn.shown()
    for one in shown:
        POSITIONS.labels(slate.drawn.source_C[one]).inc()
    best = np.argsort(-slate.drawn.score_C, kind="stable")[: len(shown)]
    EXPLORED.inc(len(set(shown) - set(best.tolist())))


def count_events(statuses: Sequence[Status]) -> None:
    """Count events that were sent, by what became of them."""
    for one in STATUSES:
        EVENTS.labels(one).inc(statuses.count(one))


def tally() -> dict[tuple[str, str], float]:
    """Return what this process alone counted since it began, for the served log.

    `requests` are those of the API that were let in, by the class of their status (`2xx`; `gone`
    where the client went away); `shed` those that were turned away, by reason; `log` how many
    slates waited for the disk, and milliseconds in all.
    """
    found: dict[tuple[str, str], float] = defaultdict(float)
    for labels, value in _told(REQUESTS, "_total"):
        if labels["route"].startswith(_API):
            found["requests", _class(labels["status"])] += value
        elif (labels["route"], labels["status"]) == _UNREAD:
            found["shed", "connections"] += value
    for labels, value in _told(SHED, "_total"):
        found["shed", labels["reason"]] += value
    for name, ending, scale in (("slates", "_count", 1), ("ms", "_sum", 1000)):
        for labels, value in _told(STEP_S, ending):
            if labels["step"] == "log":
                found["log", name] += value * scale
    return found


def _told(metric: MetricWrapperBase, ending: str) -> Iterator[tuple[dict[str, str], float]]:
    for family in metric.collect():
        for one in family.samples:
            if one.name.endswith(ending):
                yield one.labels, one.value


def _class(status: str) -> str:
    return f"{status[0]}xx" if status.isdigit() else status


def note_process(version: str) -> None:
    """Say what this process serves and takes now: whichever of several is asked tells of all."""
    for one in _SERVED - {version}:
        VERSION.labels(one).set(0)
    _SERVED.add(version)
    VERSION.labels(version).set(1)
    MEMORY.set(psutil.Process().memory_info().rss)


def exposition(version: str, beside: Path | None = None) -> bytes:
    """Return all figures in the text format of Prometheus, and what a file holds, if it is there.

    The file is of another writer, `tessera monitor`, and bears no name that is counted here.
    """
    note_process(version)
    registry = REGISTRY
    if _TOGETHER in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry) + _held(beside)


def _held(path: Path | None) -> bytes:
    try:
        return b"" if path is None else path.read_bytes()
    except OSError:  # nobody watched yet
        return b""
