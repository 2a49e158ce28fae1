"""The service behind every door: answers, takes in events, swaps bundles, and logs all of it.

An answer leaves when its slate is on the disk.  Where nothing can be written nothing is drawn: the
best are shown, marked as unexplored, because a draw that is not logged can never be judged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace

from tessera.serve import measures
from tessera.serve.context import DEGRADED, Deadline
from tessera.serve.engine import Engine
from tessera.serve.log import EVENT, SLATE, Record, ServedLog
from tessera.serve.slate import Slate, best, greedy

_COMMIT_S = 5.0
"""A disk that takes longer is as good as none."""


@dataclass(frozen=True, slots=True)
class Event:
    """What an investor did."""

    event_id: str
    user_id: str
    item_id: str
    action: str
    moment: int
    """Microseconds since 1970."""
    request_id: str | None = None
    """Slate that led to it."""
    value: float = 0.0
    """EUR; 0 for a click."""
    channel: str | None = None

    def record(self) -> Record:
        """Lay it out for the log."""
        return {"kind": EVENT, **{name: getattr(self, name) for name in self.__slots__}}


def event_of(record: Record) -> Event:
    """Read what `Event.record` laid out."""
    return Event(**{name: record[name] for name in Event.__slots__})


def record_of(slate: Slate) -> Record:
    """Lay a slate out for the log: enough to draw it again and to write its exposures."""
    drawn = slate.drawn
    return {
        "kind": SLATE,
        "request_id": slate.request_id,
        "user_id": slate.user_id,
        "moment": slate.moment,
        "policy_id": slate.policy_id,
        "context_version": slate.context_version,
        "flags": list(slate.flags),
        "candidate_ids": list(drawn.candidate_ids),
        "sources": list(drawn.source_C),
        "scores": drawn.score_C.astype(float).tolist(),
        "chosen": drawn.chosen_L.tolist(),
        "propensities": drawn.propensity_L.tolist(),
        "probabilities": drawn.probability_LC.tolist(),
    }


class Service:
    """One process that serves one profile."""

    def __init__(self, engine: Engine, open_log: Callable[[], ServedLog]) -> None:
        """Serve a bundle; `open_log` begins a segment."""
        self._engine = engine
        self._open_log = open_log
        self._log = open_log()
        self._log_lock = threading.Lock()
        self._events: list[Event] = []
        self._lock = threading.Lock()

    @property
    def engine(self) -> Engine:
        """The bundle that answers now."""
        return self._engine

    @property
    def log(self) -> ServedLog:
        """The open segment."""
        return self._log

    def restore(self, records: Iterable[Record]) -> int:
        """Take in what the log of before holds; return how many events that were."""
        events = [event_of(one) for one in records if one["kind"] == EVENT]
        return sum(self._take(one) for one in events)

    def recommend(
        self, request_id: str, user_id: str, moment: int, k: int, deadline: Deadline | None = None
    ) -> Slate:
        """Draw a slate and log it; see `Engine.answer`."""
        slate = self._engine.answer(request_id, user_id, moment, k, deadline)
        begun = time.perf_counter()
        try:
            self._append(record_of(slate)).result(_COMMIT_S)
        except (OSError, TimeoutError):
            slate = unexplored(slate, k)
        slate.took_s["log"] = time.perf_counter() - begun
        measures.count_slate(slate)
        return slate

    def happened(self, events: Iterable[Event]) -> int:
        """Log events, then know them; return how many were new.

        Raises
        ------
        OSError
            If they cannot be written: then none of them is known.
        """
        events = tuple(events)
        self._append(*(one.record() for one in events)).result(_COMMIT_S)
        new = sum(self._take(one) for one in events)
        measures.count_events(new, len(events) - new)
        return new

    def swap(self, engine: Engine) -> None:
        """Answer from another bundle from now on; requests under way end on the old one."""
        known = len(self._events)
        _feed(engine, self._events[:known])
        with self._lock:
            _feed(engine, self._events[known:])
            self._engine = engine

    def roll(self) -> None:
        """Begin another segment; what waits is written into the one before."""
        with self._log_lock:
            before, self._log = self._log, self._open_log()
        before.close()

    def close(self) -> None:
        """Write what waits."""
        self._log.close()

    def _append(self, *records: Record) -> Future[None]:
        with self._log_lock:  # nothing may reach a segment that is being closed
            return self._log.append(*records)

    def _take(self, event: Event) -> bool:
        with self._lock:
            new = _feed(self._engine, (event,)) > 0
            if new:
                self._events.append(event)
        return new


def unexplored(slate: Slate, k: int) -> Slate:
    """Return the best candidates instead of the draw, marked so that nobody judges by them."""
    more = [flag for flag in (DEGRADED, "unlogged") if flag not in slate.flags]
    return replace(
        slate,
        drawn=best(slate.drawn, k),
        policy_id=greedy(slate.policy_id),
        reasons={},
        flags=(*slate.flags, *more),
    )


def _feed(engine: Engine, events: Iterable[Event]) -> int:
    state = engine.scorer.state
    return sum(
        state.add(one.event_id, one.user_id, one.item_id, one.action, one.moment) for one in events
    )
