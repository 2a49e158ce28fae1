"""What investors did, what was told of prices and of classes, as logged, and what it comes to.

What is known is a join: an event counts once, of two that bear one id the earlier, and what was
forgotten never again.  So the same records give the same events in whatever order, how late and how
often they come, and whatever lost some of them is mended by giving it all of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, get_args

from tessera.serve.classes import CLASS, InvestorClass, InvestorClasses, class_of
from tessera.serve.closes import CLOSE, Close, Closes, close_of

SLATE, EVENT, FORGET, SHADOW, COUNT = "slate", "event", "forget", "shadow", "count"
"""Kinds of records in the served log."""
EVENTLESS = (SLATE, SHADOW, COUNT)
"""Those that tell of no events."""
COMPLAIN = "complain"
"""Action that is logged and measured: no model and no table of the next run knows of it."""
_BIAS = 1 << 63
"""Makes moments before 1970 sort as text too."""

_SAME_US = 60_000_000
"""Times of two tellings may differ so much: a clock that runs ahead is put right by its arrival."""

Record = dict[str, Any]
Status = Literal["new", "known", "conflict"]
"""What became of an event that was sent: a conflict says something else than what its id stands
for already, and changes nothing."""
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True, slots=True)
class Event:
    """What an investor did."""

    event_id: str
    user_id: str
    item_id: str
    action: str
    moment: int
    """Microseconds since 1970."""
    request_id: str | None = None
    """Slate that led to it."""
    value: float = 0.0
    """EUR; 0 for a click."""
    channel: str | None = None

    def record(self) -> Record:
        """Lay it out for the log."""
        return {"kind": EVENT, **{name: getattr(self, name) for name in self.__slots__}}

    def contradicts(self, other: Event, *, timed: bool = True) -> bool:
        """Tell whether another telling of the same id says something else.

        Where nobody said when (not `timed`), the time is that of its arrival and says nothing.
        """
        if replace(self, moment=other.moment) != other:
            return True
        return timed and abs(self.moment - other.moment) > _SAME_US

    @property
    def text(self) -> str:
        """Lay it out for a feed."""
        values = [getattr(self, name) for name in self.__slots__]
        return json.dumps(values, separators=(",", ":"))

    @property
    def rank(self) -> str:
        """Text by which one of two that bear the same id is chosen: the earlier, else either."""
        digest = hashlib.blake2b(self.text.encode(), digest_size=16).hexdigest()
        return f"{self.moment + _BIAS:020d}{digest}"


def event_of(record: Record) -> Event:
    """Read what `Event.record` laid out."""
    return Event(**{name: record[name] for name in Event.__slots__})


Told = Event | Close | InvestorClass
"""What processes tell each other of."""


_READERS: dict[str, Callable[[Record], Told]] = {
    EVENT: event_of,
    CLOSE: close_of,
    CLASS: class_of,
}


def told_of_text(text: str | bytes) -> Told:
    """Read what `text` laid out."""
    found = json.loads(text)
    if not isinstance(found, dict):
        return Event(*found)
    return class_of(found) if found.get("kind") == CLASS else close_of(found)


def forget_record(event_ids: Iterable[str]) -> Record:
    """Lay out for the log that events are forgotten; it names no investor."""
    return {"kind": FORGET, "event_ids": sorted(event_ids)}


@dataclass(slots=True)
class Learnt:
    """What became known."""

    new: list[Event] = field(default_factory=list)
    again: bool = False
    """An event that was known before is another one now, or is forgotten."""
    closes: list[Close] = field(default_factory=list)
    """Those that change what counts."""
    classes: list[InvestorClass] = field(default_factory=list)
    """Those that were new."""


@dataclass(slots=True)
class Knowledge:
    """Events that count, by id, ids that never will again, closes, and classes of investors."""

    events: dict[str, Event] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    closes: Closes = field(default_factory=Closes)
    classes: InvestorClasses = field(default_factory=InvestorClasses)

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        """Gather what a served log tells of events."""
        found = cls()
        for one in records:
            found.read(one)
        return found

    def read(self, record: Record) -> Learnt:
        """Take in one record of the served log."""
        if record["kind"] == FORGET:
            return self.forget(record["event_ids"])
        read = _READERS.get(record["kind"])
        return self.learn([read(record)]) if read else Learnt()

    def told(self) -> list[Told]:
        """Return all that counts."""
        return [*self.events.values(), *self.closes, *self.classes]

    def learn(self, told: Iterable[Told]) -> Learnt:
        """Take in events, closes and classes."""
        learnt = Learnt()
        for one in told:
            if isinstance(one, Close):
                learnt.closes += [one] if self.closes.learn(one) else []
                continue
            if one.event_id in self.forgotten:
                continue
            if isinstance(one, InvestorClass):
                learnt.classes += [one] if self.classes.learn(one) else []
                continue
            known = self.events.get(one.event_id)
            if known is None:
                learnt.new.append(one)
            elif known == one or known.rank <= one.rank:
                continue
            else:
                learnt.again = True
            self.events[one.event_id] = one
        return learnt

    def forget(self, event_ids: Iterable[str]) -> Learnt:
        """Let events, and classes that were told, count no more."""
        ids = set(event_ids)
        self.forgotten |= ids
        known = [one for one in ids if self.events.pop(one, None) or self.classes.forget(one)]
        return Learnt(again=bool(known))

    def fresh(self, told: Iterable[Told]) -> list[Told]:
        """Return the first of each id that is not known and not forgotten."""
        first: dict[str, Told] = {}
        for one in told:
            if one.event_id not in self.events and one.event_id not in self.forgotten:
                first.setdefault(one.event_id, one)
        return list(first.values())


def statuses(
    events: Iterable[Event], new: Iterable[str], known: Knowledge, untimed: Container[int]
) -> Iterator[Status]:
    """Say what became of events that were told, by the ids that were new and what is known now."""
    left = set(new)
    for place, one in enumerate(events):
        kept = known.events.get(one.event_id)
        if kept is not None and kept.contradicts(one, timed=place not in untimed):
            yield "conflict"
        elif one.event_id in left:
            left.remove(one.event_id)
            yield "new"
        else:
            yield "known"
