"""The service behind every door: answers, takes in events, swaps bundles, and logs all of it.

An answer leaves when its slate is on the disk.  Where nothing can be written nothing is drawn: the
best are shown, marked as unexplored, because a draw that is not logged can never be judged.
Where the feed is lost, answers go on from what is known, marked as degraded, and events go on into
the log.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from tessera.contracts.tables import UNEXPLORED
from tessera.serve.engine import Engine
from tessera.serve.events import Event, Knowledge, Record, forget_record
from tessera.serve.feeds.memory import MemoryFeed
from tessera.serve.following import Following
from tessera.serve.log import ServedLog
from tessera.serve.slate import Slate
from tessera.shared.policies.slate import EMPTY

_COMMIT_S = 5.0
"""A disk that takes longer is as good as none."""
DEGRADED = "degraded"
"""Flag of an answer that something was left out of."""
SLATE = "slate"
"""Kind of record in the served log, beside those of `events`."""
_AGAIN_S = 0.25
"""How often a feed that is lost is looked for."""


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
        "candidate_ids": list(drawn.candidate_ids),
        "sources": list(drawn.source_C),
        "scores": drawn.score_C.astype(float).tolist(),
        "chosen": drawn.chosen_L.tolist(),
        "propensities": drawn.propensity_L.tolist(),
        "probabilities": drawn.probability_LC.tolist(),
    }


class Service:
    """One process that serves one profile, alone or as one of several."""

    def __init__(
        self, engine: Engine, open_log: Callable[[], ServedLog], following: Following | None = None
    ) -> None:
        """Serve a bundle; `open_log` begins a segment, `following` is what others know too."""
        self._engine = engine
        self._log = open_log()
        self._following = following or Following(MemoryFeed())
        self._turn = 0
        """How often what was known before no longer held."""
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._seeker: threading.Thread | None = None

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
        found = Knowledge.of(records)
        with self._following_now() as following:
            following.forget(sorted(found.forgotten))
            return following.add(list(found.events.values()))

    def catch_up(self) -> bool:
        """Know what all processes know; tell whether that is sure."""
        with self._following_now() as following:
            following.catch_up()
            return not following.lost

    def recommend(self, request_id: str, user_id: str, moment: int, k: int) -> Slate:
        """Draw a slate and log it; see `Engine.answer`."""
        is_sure = self.catch_up()
        slate = self._engine.answer(request_id, user_id, moment, k)
        slate = slate if is_sure else replace(slate, flags=_with(slate.flags, DEGRADED))
        try:
            self._log.append(record_of(slate)).result(_COMMIT_S)
        except (OSError, TimeoutError):
            return unexplored(slate, k)
        return slate

    def happened(self, events: Iterable[Event]) -> int:
        """Log events, then know them; return how many were new.

        Raises
        ------
        OSError
            If they cannot be written: then none of them is known.
        """
        events = tuple(events)
        if not events:
            return 0
        with self._following_now() as following:
            following.catch_up()
            fresh = following.known.fresh(events)
        if not fresh:
            return 0
        self._log.append(*(one.record() for one in fresh)).result(_COMMIT_S)
        with self._following_now() as following:
            return following.add(fresh)

    def forget(self, user_id: str) -> int:
        """Forget what an investor did until now, for good; return how many events that were.

        Raises
        ------
        OSError
            If it cannot be written: then nothing is forgotten.
        """
        with self._following_now() as following:
            following.catch_up()
            events = following.known.events.values()
            ids = [one.event_id for one in events if one.user_id == user_id]
        if ids:
            self._log.append(forget_record(ids)).result(_COMMIT_S)
            with self._following_now() as following:
                following.forget(ids)
        return len(ids)

    def swap(self, engine: Engine) -> None:
        """Answer from another bundle from now on; requests under way end on the old one."""
        with self._lock:
            known, turn = list(self._following.known.events.values()), self._turn
        _feed(engine, known)
        with self._lock:
            events = list(self._following.known.events.values())
            if turn == self._turn:
                _feed(engine, events[len(known) :])
            else:
                engine.scorer.state.begin_again(map(_row, events))
            self._engine = engine

    def close(self) -> None:
        """Write what waits."""
        self._closed.set()
        self._log.close()
        self._following.close()

    @contextmanager
    def _following_now(self) -> Iterator[Following]:
        """Let one thread follow; what it learns the engine knows at the end."""
        with self._lock:
            yield self._following
            learnt = self._following.take()
            if learnt.again:
                self._turn += 1
                events = self._following.known.events.values()
                self._engine.scorer.state.begin_again(map(_row, events))
            else:
                _feed(self._engine, learnt.new)
            if self._following.lost and self._seeker is None:
                self._seeker = threading.Thread(target=self._seek, name="feed", daemon=True)
                self._seeker.start()

    def _seek(self) -> None:
        while not self._closed.wait(_AGAIN_S):
            if self._following.probe():
                with self._following_now() as following:
                    following.regain()
                    if not following.lost:
                        self._seeker = None
                        return


def unexplored(slate: Slate, k: int) -> Slate:
    """Return the best candidates instead of the draw, marked so that nobody judges by them."""
    drawn = slate.drawn
    best = np.argsort(-drawn.score_C, kind="stable")[:k]
    chosen_L = np.full(k, EMPTY)
    chosen_L[: len(best)] = best
    sure_LC = np.zeros((k, len(drawn.score_C)))
    sure_LC[np.arange(len(best)), best] = 1.0
    greedy = replace(drawn, chosen_L=chosen_L, propensity_L=np.ones(k), probability_LC=sure_LC)
    return replace(
        slate,
        drawn=greedy,
        policy_id=f"{slate.policy_id}{UNEXPLORED}",
        reasons={},
        flags=_with(slate.flags, DEGRADED, "unlogged"),
    )


def _with(flags: tuple[str, ...], *more: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*flags, *more)))


def _row(event: Event) -> tuple[str, str, str, str, int]:
    return event.event_id, event.user_id, event.item_id, event.action, event.moment


def _feed(engine: Engine, events: Iterable[Event]) -> None:
    for one in events:
        engine.scorer.state.add(*_row(one))
