"""The feed: events, closes and classes in one order for all processes that serve a profile.

The served log is the truth; a feed is how processes learn of it without reading it.  One that lost
something is filled again from the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from tessera.contracts.components import component
from tessera.contracts.errors import BadParams, TesseraError
from tessera.serve.events import Told

AUTO, MEMORY, SQLITE = "auto", "memory", "sqlite"
"""Ways to keep the feed that a process chooses itself: see `kind_for`."""
MOST = 5000
"""Events that are read at once."""


class FeedLost(TesseraError):
    """The feed cannot be reached or read now."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far somebody has read."""

    epoch: str = ""
    """Changes whenever what was read before no longer holds."""
    place: int = 0


START = Mark()


@dataclass(frozen=True, slots=True)
class News:
    """What came behind a mark; if its epoch is another one, all from the beginning."""

    mark: Mark
    """To go on from."""
    events: tuple[Told, ...]
    more: bool = False
    """There is more behind it."""


class Feed(Protocol):
    """Events, closes and classes by id, each once; of two of one id the one of lower rank.

    All methods raise FeedLost where the feed cannot be reached or read.
    """

    def add(self, events: Sequence[Told]) -> frozenset[str]:
        """Take in some; return the ids that were neither known nor forgotten."""

    def since(self, mark: Mark, most: int = MOST) -> News:
        """Return what was added behind a mark, in the same order for all."""

    def forget(self, event_ids: Iterable[str]) -> None:
        """Drop events, and take none of these ids in again."""

    def clear(self) -> None:
        """Begin anew, with nothing."""

    def close(self) -> None:
        """Let go of it."""


class Kind(Protocol):
    """What a module of `feeds` has."""

    def open_feed(self, folder: Path) -> Feed:
        """Open the feed of the processes that log into this folder."""


def kind_for(state: str, workers: int) -> str:
    """Choose how the feed is kept, `auto` by the number of processes.

    Raises
    ------
    BadParams
        If several processes cannot share it.
    """
    if state == AUTO:
        return MEMORY if workers == 1 else SQLITE
    if state == MEMORY and workers > 1:
        raise BadParams(
            f"serve.feed is {MEMORY}, which {workers} workers cannot share: set it to {AUTO}, "
            f"{SQLITE} or redis"
        )
    return state


def open_feed(kind: str, folder: Path) -> Feed:
    """Open a feed by the name of its kind.

    Raises
    ------
    BadParams
        If there is no such kind.
    """
    return cast(Kind, component("tessera.serve.feeds", kind)).open_feed(folder)
