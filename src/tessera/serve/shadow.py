"""A challenger that scores what the others were asked, and shows nothing.

Nobody waits for it: a thread of its own takes slates from a bounded queue, and what finds it full
is missed and counted.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

import numpy as np

from tessera.serve import measures
from tessera.serve.engine import Engine
from tessera.serve.events import SHADOW, Record
from tessera.serve.log import COMMIT_S
from tessera.serve.slate import Slate
from tessera.serve.telling import let_go
from tessera.shared.policies.slate import slate_propensities

_LOG = logging.getLogger("tessera.serve")
_MOST = 64
"""Slates that wait."""
_END = None


class Shadow:
    """One challenger beside the service."""

    def __init__(
        self, engine: Engine, append: Callable[[Record], Future[None]], most: int = _MOST
    ) -> None:
        """Score by a bundle; `append` writes into the log."""
        self.engine, self._append = engine, append
        self._written = _Written(engine.version)
        self._last: Future[None] | None = None
        self._waiting: queue.Queue[Slate | None] = queue.Queue(most)
        self._thread = threading.Thread(target=self._follow, name="shadow", daemon=True)
        self._thread.start()

    def offer(self, slate: Slate) -> None:
        """Score a slate when there is time; never wait."""
        try:
            self._waiting.put_nowait(slate)
        except queue.Full:
            measures.SHADOW.labels("missed").inc()

    def close(self) -> None:
        """End when what waits is scored, and on the disk."""
        self._waiting.put(_END)
        self._thread.join()
        if self._last is not None:
            wait([self._last], COMMIT_S)

    def _follow(self) -> None:
        while (slate := self._waiting.get()) is not _END:
            try:
                self._last = self._append(shadow_record(self.engine, slate))
                self._last.add_done_callback(self._written.count)
            except Exception:  # whatever it is, it is not what anybody asked for
                measures.SHADOW.labels("failed").inc()
                _LOG.error("shadow %s cannot score a slate", self.engine.version)


class _Written:
    """Counts what is on the disk; it outlives the shadow, and so holds none of its bundle."""

    def __init__(self, version: str) -> None:
        self._version, self._is_logged = version, True

    def count(self, done: Future[None]) -> None:
        """Count one; that nothing can be written any more is said once."""
        error = done.exception()
        measures.SHADOW.labels("unlogged" if error else "scored").inc()
        if error and self._is_logged:
            _LOG.error("what shadow %s scores is not logged: %s", self._version, error)
        self._is_logged = not error


def shadow_record(engine: Engine, slate: Slate) -> Record:
    """Lay out for the log what a challenger makes of a slate that was shown.

    The scores are of the candidates in the order of the slate's record, the propensities of its
    positions: how likely the challenger's policy shows the same there.  An item that it does not
    list has the least score.  What arrived late, after the slate was drawn, is known too.
    """
    ids = slate.drawn.candidate_ids
    score_C, context = engine.scores_of(slate.user_id, slate.moment, ids)
    let_go(engine, slate.user_id, slate.moment)
    score_1C = score_C[None].astype(np.float64)
    propensity, _ = slate_propensities(
        score_1C, np.ones_like(score_1C, bool), engine.slate, slate.drawn.chosen_L[None]
    )
    return {
        "kind": SHADOW,
        "request_id": slate.request_id,
        "user_id": slate.user_id,
        "moment": slate.moment,
        "policy_id": engine.version,
        "context_version": context,
        "scores": score_C.astype(float).tolist(),
        "propensities": propensity[0].tolist(),
    }
