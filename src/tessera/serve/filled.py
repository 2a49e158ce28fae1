"""A feed that holds what the log holds: filled at a start, and when a process died."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tessera.serve.events import Knowledge
from tessera.serve.feed import Feed
from tessera.serve.hours import Before, read_before
from tessera.serve.tail import Tail


@contextmanager
def filled(feed: Feed, folder: Path) -> Iterator[Before]:
    """Fill a feed from the log, and keep others from emptying it until the end of the block.

    What only the feed holds is dropped, since the log is the truth; but not while another service
    works with it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "feed.lock").open("a") as lock:
        if _is_alone(lock):
            feed.clear()
        before = read_before(folder)
        give(feed, Knowledge.of(before.records))
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield before


def give(feed: Feed, known: Knowledge) -> None:
    """Tell a feed of what is known."""
    feed.forget(known.forgotten)
    feed.add(known.told())


class Rescue:
    """Brings into the feed what a process logged before it died and told nobody."""

    def __init__(self, feed: Feed, folder: Path) -> None:
        self._feed, self._tail = feed, Tail(folder)
        self._tail.skip()

    def bring(self) -> None:
        """Do it for all segments that nobody writes any more."""
        give(self._feed, Knowledge.of(self._tail.news(ended=True)))


def _is_alone(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
