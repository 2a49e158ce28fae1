"""Events are taken in: logged first, then known, here and by whoever shares the feed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from tessera.serve.classes import InvestorClass
from tessera.serve.closes import Close, telling
from tessera.serve.events import Event, Knowledge, Learnt, Record, Status, forget_record, statuses
from tessera.serve.following import Following
from tessera.serve.log import ServedLog, on_disk

_Telling = TypeVar("_Telling", Close, InvestorClass)
_AGAIN_S = 0.25
"""How often a feed that is lost is looked for."""


class Intake:
    """One process that takes events in."""

    def __init__(
        self,
        open_log: Callable[[], ServedLog],
        following: Following,
        learn: Callable[[Learnt], None] = lambda _: None,
        is_erased: Callable[[Event | InvestorClass], bool] = lambda _: False,
    ) -> None:
        """Begin a segment; one thread at a time tells `learn` what became known.

        What comes late of whoever was erased is not taken in.
        """
        self._open_log = open_log
        self._log = open_log()
        self._log_lock = threading.Lock()
        self._following = following
        self._learn = learn
        self._is_erased = is_erased
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._seeker: threading.Thread | None = None

    @property
    def log(self) -> ServedLog:
        """The open segment."""
        return self._log

    def append(self, *records: Record) -> Future[None]:
        """Write records; see `ServedLog.append`."""
        with self._log_lock:  # nothing may reach a segment that is being closed
            return self._log.append(*records)

    def roll(self) -> None:
        """Begin another segment; what waits is written into the one before."""
        with self._log_lock:
            before, self._log = self._log, self._open_log()
        before.close()

    def restore(self, records: Iterable[Record]) -> int:
        """Take in what the log of before holds; return how many events that were."""
        found = Knowledge.of(records)
        with self.following() as following:
            following.forget(sorted(found.forgotten))
            following.add([*found.closes, *found.classes])
            return len(following.add(list(found.events.values())))

    def catch_up(self) -> bool:
        """Know what all processes know; tell whether that is sure."""
        with self.following() as following:
            following.catch_up()
            return not following.lost

    def happened(
        self, events: Iterable[Event], untimed: Container[int] = frozenset()
    ) -> list[Status]:
        """Log events, then know them; return what became of each.

        Parameters
        ----------
        events : iterable of Event
            The first of each id counts.
        untimed : container of int
            Places of those of which nobody said when: another time makes no conflict.

        Raises
        ------
        OSError
            If they cannot be written: then none of them is known.
        """
        events = tuple(events)
        if not events:
            return []
        with self.following() as following:
            following.catch_up()
            fresh = following.known.fresh(one for one in events if not self._is_erased(one))
            new = frozenset[str]()
        if fresh:
            on_disk(self.append(*(one.record() for one in fresh)))
            with self.following() as following:
                new = following.add(fresh)
        found = list(statuses(events, new, following.known, untimed))
        # Whoever erased them meanwhile may have looked before these were known.
        late = (one for one in fresh if isinstance(one, Event) and self._is_erased(one))
        self._forget([one.event_id for one in late])
        return found

    def priced(self, closes: Iterable[Close]) -> int:
        """Log closes, then know them; return how many said something new.

        Each is told just now, or just behind the last one that anybody told.

        Raises
        ------
        OSError
            If they cannot be written: then none of them is known.
        """

        def fresh(known: Knowledge) -> list[Close]:
            until = known.closes.until + 1
            return [replace(one, told=max(one.told, until)) for one in known.closes.fresh(closes)]

        return self._tell(fresh)[1]

    def classed(self, classes: Iterable[InvestorClass]) -> int:
        """Do for classes of investors as `priced` for closes, but for whoever was erased."""

        def fresh(known: Knowledge) -> list[InvestorClass]:
            until = known.classes.until + 1
            return [
                replace(one, moment=max(one.moment, until))
                for one in known.classes.fresh(classes)
                if not self._is_erased(one)
            ]

        told, new = self._tell(fresh)
        # Whoever erased them meanwhile may have looked before these were known.
        self._forget([one.event_id for one in told if self._is_erased(one)])
        return new

    def _tell(self, fresh: Callable[[Knowledge], list[_Telling]]) -> tuple[list[_Telling], int]:
        """Log what is fresh to what is known, then know it; return it, and how much was new."""
        with telling(self._log.path.parent):
            with self.following() as following:
                following.catch_up()
                told = fresh(following.known)
            if not told:
                return [], 0
            on_disk(self.append(*(one.record() for one in told)))
            with self.following() as following:
                return told, len(following.add(told))

    def forget(self, user_id: str) -> int:
        """Forget what an investor did and was until now, for good; return how many events it were.

        Raises
        ------
        OSError
            If it cannot be written: then nothing is forgotten.
        """
        with self.following() as following:
            following.catch_up()
            events = following.known.events.values()
            ids = [one.event_id for one in events if one.user_id == user_id]
            classes = [one.event_id for one in following.known.classes.of(user_id)]
        self._forget([*ids, *classes])
        return len(ids)

    def _forget(self, event_ids: list[str]) -> None:
        if event_ids:
            on_disk(self.append(forget_record(event_ids)))
            with self.following() as following:
                following.forget(event_ids)

    @contextmanager
    def following(self) -> Iterator[Following]:
        """Let one thread follow the feed; what it learns is told at the end."""
        with self._lock:
            yield self._following
            self._learn(self._following.take())
            if self._following.lost and self._seeker is None:
                self._seeker = threading.Thread(target=self._seek, name="feed", daemon=True)
                self._seeker.start()

    def close(self) -> None:
        """Write what waits."""
        self._closed.set()
        self._log.close()
        self._following.close()

    def _seek(self) -> None:
        while not self._closed.wait(_AGAIN_S):
            if self._following.probe():
                with self.following() as following:
                    following.regain()
                    if not following.lost:
                        self._seeker = None
                        return
