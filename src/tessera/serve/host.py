"""One serving process: the log of before is known again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tessera.serve.engine import Engine
from tessera.serve.erased import Erased
from tessera.serve.events import Record
from tessera.serve.feed import MEMORY, Feed, open_feed
from tessera.serve.filled import filled
from tessera.serve.following import Following
from tessera.serve.hours import read_before
from tessera.serve.intake import Intake
from tessera.serve.log import OPEN, ServedLog
from tessera.serve.online.shown import LoggedSlate, logged_slate
from tessera.serve.params import ServeParams
from tessera.serve.service import Service
from tessera.serve.showing import Showing
from tessera.serve.tail import Tail


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
    shown = Shown(params)
    before = read_before(folder, shown.see)
    service = Service(_opened(bundle, params, shown), lambda: ServedLog(_fresh(folder)))
    return Started(service, service.restore(before.records), before.torn)


def join(bundle: Path, folder: Path, params: ServeParams, feed: Feed) -> Service:
    """Open a bundle and a segment of a log whose events are in the feed.

    Raises
    ------
    BrokenBundle
        If the bundle cannot be served.
    """
    following, engine = _following(folder, feed), Engine.open(bundle, params)
    if params.cap_shown is None:
        service = Service(engine, lambda: ServedLog(_fresh(folder)), following)
    else:
        service = _beside_others(engine, folder, following)
    service.lay_out()
    return service


class Shown:
    """What a log tells was shown, if a param caps it; of others a process knows that alone."""

    def __init__(self, params: ServeParams) -> None:
        """Know nothing yet."""
        self.slates: list[LoggedSlate] = []
        self.see = self._see if params.cap_shown is not None else None
        """Takes in a slate of the log; None where nothing is capped."""

    def _see(self, slate: Record) -> None:
        self.slates.append(logged_slate(slate))


def _beside_others(engine: Engine, folder: Path, following: Following) -> Service:
    """Serve a bundle that knows what all processes show."""
    showing = Showing(folder)
    showing.begin(engine.exposures)

    def open_log() -> ServedLog:
        path = _fresh(folder)
        showing.leave(path)
        return ServedLog(path)

    return Service(engine, open_log, following, showing)


def _opened(bundle: Path, params: ServeParams, shown: Shown) -> Engine:
    """Open a bundle that knows what was shown."""
    engine = Engine.open(bundle, params)
    engine.exposures.restore(shown.slates)
    return engine


def intake(folder: Path, feed: Feed) -> Intake:
    """Begin a segment of a log whose events are in the feed, for a process that only takes in."""
    erased = Erased(folder)
    return Intake(
        lambda: ServedLog(_fresh(folder)),
        _following(folder, feed),
        is_erased=lambda one: erased.covers(one.user_id, one.moment),
    )


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
