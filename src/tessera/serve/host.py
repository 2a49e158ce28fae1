"""One serving process: the log of before is known again, the bundle follows the pointer."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tessera.contracts.errors import TesseraError
from tessera.serve.engine import Engine
from tessera.serve.feed import MEMORY, Feed, open_feed
from tessera.serve.filled import filled
from tessera.serve.following import Following
from tessera.serve.hours import read_before, records
from tessera.serve.intake import Intake
from tessera.serve.log import OPEN, ServedLog
from tessera.serve.params import ServeParams
from tessera.serve.service import Service
from tessera.serve.tail import Tail

_LOG = logging.getLogger("tessera.serve")
_LOOK_S = 1.0
"""How often the pointer is read."""


@dataclass(frozen=True, slots=True)
class Started:
    """What a start found."""

    service: Service
    events: int
    """Events of the log that are known again."""
    torn: int
    """Bytes that a crash tore off the log."""


def start(bundle: Path, folder: Path, params: ServeParams) -> Started:
    """Open a bundle and the log beside it, for one process that shares nothing.

    Raises
    ------
    BrokenBundle, BrokenLog
        If the bundle cannot be served, or the log was changed.
    """
    before = read_before(folder)
    service = Service(_opened(bundle, folder, params), lambda: ServedLog(_fresh(folder)))
    return Started(service, service.restore(before.records), before.torn)


def join(bundle: Path, folder: Path, params: ServeParams, feed: Feed) -> Service:
    """Open a bundle and a segment of a log whose events are in the feed.

    Raises
    ------
    BrokenBundle
        If the bundle cannot be served.
    """
    following = _following(folder, feed)
    service = Service(_opened(bundle, folder, params), lambda: ServedLog(_fresh(folder)), following)
    service.catch_up()
    return service


def _opened(bundle: Path, folder: Path, params: ServeParams) -> Engine:
    """Open a bundle that knows what was shown; each process knows of others what the log held."""
    engine = Engine.open(bundle, params)
    if engine.exposures.most is not None:
        engine.exposures.restore(records(folder))
    return engine


def intake(folder: Path, feed: Feed) -> Intake:
    """Begin a segment of a log whose events are in the feed, for a process that only takes in."""
    return Intake(lambda: ServedLog(_fresh(folder)), _following(folder, feed))


def _following(folder: Path, feed: Feed) -> Following:
    tail = Tail(folder)
    following = Following(feed, tail)
    if following.probe():  # else the log alone can tell of the events
        tail.skip()
    return following


@contextmanager
def hosted(bundle: Path, folder: Path, params: ServeParams, kind: str) -> Iterator[Started]:
    """Open a bundle and the log beside it for one process, with a feed of this kind.

    Raises
    ------
    BrokenBundle, BrokenLog, FeedLost
        If the bundle cannot be served, the log was changed, or there is no feed.
    """
    with ExitStack() as stack:
        if kind == MEMORY:
            started = start(bundle, folder, params)
        else:
            feed = open_feed(kind, folder)
            before = stack.enter_context(filled(feed, folder))
            service = join(bundle, folder, params, feed)
            started = Started(service, service.engine.scorer.state.version, before.torn)
        stack.callback(started.service.close)
        yield started


def _fresh(folder: Path) -> Path:
    """Name a segment so that names sort by time."""
    return folder / f"{time.time_ns():020d}-{os.getpid()}{OPEN}"


class Follower:
    """Swaps the bundle when another one is published; one that cannot be served is refused."""

    def __init__(self, service: Service, current: Callable[[], Path], params: ServeParams) -> None:
        """Follow what `current` names, after checking it."""
        self._service, self._current, self._params = service, current, params
        self._refused: str | None = None
        """Version that cannot be served: opening it again would cost seconds and change nothing."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self._thread.join()

    def look(self) -> bool:
        """Swap if something else is current; tell whether it was done."""
        try:
            bundle = self._current()
            if bundle.name in (self._service.engine.version, self._refused):
                return False
            engine = self._opened(bundle)
        except TesseraError as error:
            _LOG.error("%s stays: %s", self._service.engine.version, error)
            return False
        self._service.swap(engine)
        self._refused = None
        _LOG.info("%s is served", engine.version)
        return True

    def _opened(self, bundle: Path) -> Engine:
        self._refused = bundle.name
        engine = Engine.open(bundle, self._params)
        engine.warm_up()
        return engine

    def _follow(self) -> None:
        while not self._stopped.wait(_LOOK_S):
            try:
                self.look()
            except Exception:  # whatever it is, the old bundle goes on answering
                _LOG.exception("%s stays", self._service.engine.version)
