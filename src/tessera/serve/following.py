"""What one process knows of all events, kept up with the feed."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tessera.serve.events import Knowledge, Learnt, Told
from tessera.serve.feed import START, Feed, FeedLost
from tessera.serve.tail import Tail

_LOG = logging.getLogger("tessera.serve")


class Following:
    """Events as of the feed; one thread at a time but for `probe`.

    Where the feed is lost nobody waits for it: what the processes of this machine log is read from
    the log, and once the feed is back it is given all of it.
    """

    def __init__(self, feed: Feed, tail: Tail | None = None) -> None:
        """Know nothing yet; `tail` is of the log, where other processes write it too."""
        self.known = Knowledge()
        self.lost = False
        """The feed cannot be reached: others may know more."""
        self._feed, self._tail = feed, tail
        self._mark = START
        self._learnt = Learnt()

    def take(self) -> Learnt:
        """Return what was learnt since this was asked last."""
        learnt, self._learnt = self._learnt, Learnt()
        return learnt

    def catch_up(self) -> None:
        """Learn what came to the feed."""
        if self.lost:
            self._read_log()
            return
        try:
            self._read()
        except FeedLost as error:
            self._lose(error)
            self._read_log()

    def add(self, events: Sequence[Told]) -> frozenset[str]:
        """Tell the feed of what is logged, and learn it; return the ids of those that were new."""
        new = self._tell(events)
        unknown = frozenset(one.event_id for one in self.known.fresh(events))
        self.catch_up()
        if self.lost:
            self._note(self.known.learn(events))
        return unknown if new is None else new

    def forget(self, event_ids: Sequence[str]) -> None:
        """Tell the feed that events are forgotten, as the log says already."""
        self._note(self.known.forget(event_ids))
        try:
            if not self.lost:
                self._feed.forget(event_ids)
        except FeedLost as error:
            self._lose(error)

    def probe(self) -> bool:
        """Tell whether the feed can be reached; this may take as long as its patience."""
        try:
            self._feed.since(START, 1)
        except FeedLost:
            return False
        return True

    def regain(self) -> None:
        """Give a feed that is back all that it missed."""
        try:
            self._join()
        except FeedLost:
            return
        self.lost = False
        _LOG.warning("the feed is back, and has what was logged meanwhile")

    def close(self) -> None:
        """Let go of the feed."""
        self._feed.close()

    def _tell(self, events: Sequence[Told]) -> frozenset[str] | None:
        try:
            return None if self.lost else self._feed.add(events)
        except FeedLost as error:
            self._lose(error)
            return None

    def _read(self) -> None:
        more = True
        while more:
            news = self._feed.since(self._mark)
            if news.mark.epoch != self._mark.epoch:
                self._join()
                return
            self._note(self.known.learn(news.events))
            self._mark, more = news.mark, news.more

    def _join(self) -> None:
        """Give the feed all that is known here or logged, then know what is in it and no more."""
        self._read_log()
        self._feed.forget(self.known.forgotten)
        self._feed.add(self.known.told())
        found, mark, more = Knowledge(forgotten=self.known.forgotten), START, True
        while more:
            news = self._feed.since(mark)
            found.learn(news.events)
            mark, more = news.mark, news.more
        before, self.known, self._mark = self.known, found, mark
        new = [one for name, one in found.events.items() if name not in before.events]
        again = any(found.events.get(name) != one for name, one in before.events.items())
        again |= any(one not in found.classes for one in before.classes)
        self._note(Learnt(new, again, list(found.closes), list(found.classes)))

    def _read_log(self) -> None:
        for record in self._tail.news() if self._tail else ():
            self._note(self.known.read(record))

    def _note(self, learnt: Learnt) -> None:
        self._learnt.new += learnt.new
        self._learnt.again |= learnt.again
        self._learnt.closes += learnt.closes
        self._learnt.classes += learnt.classes

    def _lose(self, error: FeedLost) -> None:
        if not self.lost:
            _LOG.error("the feed is lost, events go on into the log: %s", error)
        self.lost = True
