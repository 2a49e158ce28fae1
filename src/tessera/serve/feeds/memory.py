"""The feed of one process: a list."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from tessera.serve.events import Knowledge, Told
from tessera.serve.feed import MOST, Feed, Mark, News


def open_feed(_folder: Path) -> Feed:
    """Begin with nothing."""
    return MemoryFeed()


class MemoryFeed:
    """See `Feed`."""

    def __init__(self) -> None:
        self._known = Knowledge()
        self._told: list[Told] = []
        """Those known, in the order of their coming; in another epoch in another one."""
        self._epoch = 1
        self._lock = threading.Lock()

    def add(self, events: Sequence[Told]) -> frozenset[str]:
        """See `Feed`."""
        with self._lock:
            learnt = self._known.learn(events)
            new: list[Told] = [*learnt.new, *learnt.closes, *learnt.classes]
            self._told += new
            if learnt.again:
                self._begin_epoch()
            return frozenset(one.event_id for one in new)

    def since(self, mark: Mark, most: int = MOST) -> News:
        """See `Feed`."""
        with self._lock:
            epoch = str(self._epoch)
            start = mark.place if mark.epoch == epoch else 0
            stop = min(start + most, len(self._told))
            found = tuple(self._told[start:stop])
            return News(Mark(epoch, stop), found, stop < len(self._told))

    def forget(self, event_ids: Iterable[str]) -> None:
        """See `Feed`."""
        with self._lock:
            if self._known.forget(event_ids).again:
                self._begin_epoch()

    def clear(self) -> None:
        """See `Feed`."""
        with self._lock:
            self._known = Knowledge()
            self._begin_epoch()

    def close(self) -> None:
        """See `Feed`."""

    def _begin_epoch(self) -> None:
        self._told = self._known.told()
        self._epoch += 1
