"""What investors did since the bundle's cut, kept in memory and known at once.

It is rebuilt from the served log: whatever was acknowledged is in the log, and the same log and
bundle give the same state.  Each process has one of its own, which follows the feed.
"""

from __future__ import annotations

import threading
from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from tessera.contracts.tables import ACTIONS
from tessera.model.sequences.reading import tie_order
from tessera.serve.classes import InvestorClass, InvestorClasses
from tessera.serve.events import COMPLAIN
from tessera.serve.online.investor import NOTHING, Past
from tessera.serve.online.prices import Priced, Prices
from tessera.serve.online.recent import Recent, Seen


@dataclass(frozen=True, slots=True, order=True)
class Happened:
    """One event of an investor; sorted as a history is."""

    moment: int
    """Microseconds since 1970."""
    tie: int
    """See `tie_order`; 0 where events of one moment keep the order of their ids."""
    item_id: str
    action: str
    event_id: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the state holds at one moment, for one investor."""

    version: int
    """Events that had arrived."""
    events: tuple[Happened, ...]
    """Those of the investor, oldest first."""
    all: Seen
    """Those of all investors."""
    priced: Priced | None = None
    """Closes; None where none are read."""
    classes: tuple[InvestorClass, ...] = ()
    """What was told of the class of the investor, the last one last."""
    classed_until: int = 0
    """When the last class of any investor was told; 0 if none was."""


class OnlineState:
    """Events after the cut of one bundle, by investor."""

    def __init__(
        self,
        rows: Mapping[str, int],
        recent: Recent,
        *,
        tied_sets: bool,
        prices: Prices | None = None,
    ) -> None:
        """Start with none; `rows` has the row of each item that the model knows."""
        self.prices = prices
        self._rows = rows
        self._recent = recent
        self._tied_sets = tied_sets
        self._events: dict[str, list[Happened]] = {}
        self._seen: set[str] = set()
        self._classes = InvestorClasses()
        self.version = 0
        """Events taken in so far."""
        self._lock = threading.Lock()

    def add(self, event_id: str, user_id: str, item_id: str, action: str, moment: int) -> bool:
        """Take in an event; tell whether it was new.

        An unknown item changes nothing, nor does a complaint, which no model has learnt from.
        """
        with self._lock:
            return self._add(event_id, user_id, item_id, action, moment)

    def classify(self, classes: Iterable[InvestorClass]) -> None:
        """Take in classes of investors."""
        with self._lock:
            for one in classes:
                self._classes.learn(one)

    def only_classes(self, classes: Iterable[InvestorClass]) -> None:
        """Know these classes instead of all before."""
        with self._lock:
            self._classes = InvestorClasses(classes)

    def begin_again(
        self,
        events: Iterable[tuple[str, str, str, str, int]],
        classes: Iterable[InvestorClass] = (),
    ) -> None:
        """Forget all, and take in these instead; see `add`.  Nobody sees it half done."""
        with self._lock:
            self._classes = InvestorClasses(classes)
            self._recent, self._events, self._seen = self._recent.emptied(), {}, set()
            self.version = 0
            for one in events:
                self._add(*one)

    def _add(self, event_id: str, user_id: str, item_id: str, action: str, moment: int) -> bool:
        if event_id in self._seen:
            return False
        self._seen.add(event_id)
        self.version += 1
        if item_id not in self._rows or action == COMPLAIN:
            return True
        happened = Happened(moment, self._tie(user_id, item_id), item_id, action, event_id)
        insort(self._events.setdefault(user_id, []), happened)
        self._recent.add(self._rows[item_id], ACTIONS.index(action), moment)
        return True

    def known(self, user_id: str) -> Known:
        """Return what is known now; whatever arrives meanwhile changes nothing of it."""
        with self._lock:
            events = tuple(self._events.get(user_id, ()))
            priced = self.prices.now() if self.prices else None
            mine, until = self._classes.of(user_id), self._classes.until
            return Known(self.version, events, self._recent.seen(), priced, mine, until)

    def only(self, done: Iterable[tuple[str, str, int]]) -> OnlineState:
        """Return a state of one stranger who did this: item, action, microseconds since 1970.

        What all did is that of now; an unknown item changes nothing.
        """
        events = sorted(
            Happened(moment, self._tie("", item), item, action, str(number))
            for number, (item, action, moment) in enumerate(done)
            if item in self._rows
        )
        return _Told(self, tuple(events))

    def _tie(self, user_id: str, item_id: str) -> int:
        return tie_order(user_id, item_id) if self._tied_sets else 0

    def past(self, events: tuple[Happened, ...]) -> Past:
        """Lay events out as arrays."""
        if not events:
            return NOTHING
        return Past(
            np.array([self._rows[one.item_id] for one in events], np.int64),
            np.array([ACTIONS.index(one.action) for one in events], np.int64),
            np.array([one.moment for one in events], np.int64),
        )


class _Told(OnlineState):
    """What is known now, of a stranger whose events were told and are kept nowhere."""

    def __init__(self, state: OnlineState, events: tuple[Happened, ...]) -> None:
        known = state.known("")
        super().__init__(state._rows, state._recent, tied_sets=state._tied_sets)
        self.version = known.version
        self._known = replace(known, events=events)

    def known(self, user_id: str) -> Known:
        """Return what was told, whoever asks."""
        del user_id
        return self._known
