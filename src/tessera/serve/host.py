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
from tessera.serve.feed import MEMORY, Feed, open_feed
from tessera.serve.filled import filled
from tessera.serve.following import Following
from tessera.serve.hours import read_before, records
from tessera.serve.intake import Intake
from tessera.serve.log import OPEN, ServedLog
from tessera.serve.params import ServeParams
from tessera.serve.service import Service
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
