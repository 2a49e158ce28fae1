"""The service behind every door: answers, takes in events, swaps bundles, and logs all of it.

An answer leaves when its slate is on the disk.  Where nothing can be written nothing is drawn: the
best are shown, marked as unexplored, because a draw that is not logged can never be judged.
Where the feed is lost, answers go on from what is known, marked as degraded, and events go on into
the log.

Slates are worked out one after the other: two that share one interpreter end when the second does,
so that the first one only waits.  A disk that is quick ends the slate within its turn; what waits
for a slow one holds up nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Iterable
from concurrent.futures import wait
from dataclasses import dataclass, replace
from typing import Any

from tessera.serve import measures
from tessera.serve.arms import Arms, Canary
from tessera.serve.challengers import ROLES, Role
from tessera.serve.classes import InvestorClass
from tessera.serve.closes import Close
from tessera.serve.context import DEGRADED, Deadline
from tessera.serve.engine import Engine
from tessera.serve.events import Event, Learnt, Record, Status
from tessera.serve.feeds.memory import MemoryFeed
from tessera.serve.following import Following
from tessera.serve.intake import Intake
from tessera.serve.log import ServedLog, on_disk
from tessera.serve.logged import flagged, record_of, unexplored
from tessera.serve.shadow import Shadow
from tessera.serve.showing import Showing
from tessera.serve.slate import Slate
from tessera.serve.telling import (
    begin_again,
    classify,
    drop_erased,
    feed,
    lay_out,
    let_go,
    price,
)

UNDRAWN = "undrawn"
"""Flag of a slate that shows the best because exploration is stopped."""
_SOON_S = 0.003
"""A slate whose sync takes longer than this lets the next one begin."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A bundle that is wanted and cannot be served."""

    version: str
    reason: str
    role: Role = "current"
    """What it would be."""


class Service:
    """One process that serves one profile, alone or as one of several."""

    def __init__(
        self,
        engine: Engine,
        open_log: Callable[[], ServedLog],
        following: Following | None = None,
        showing: Showing | None = None,
    ) -> None:
        """Serve a bundle; `open_log` begins a segment, `following` is what others know too.

        `showing` is what others show, where that is counted.
        """
        self._showing = showing
        self._arms = Arms(engine)
        self.explores = True
        """Slates are drawn; else the best are shown and logged as such."""
        self.refusals: dict[Role, Refusal] = {}
        """What cannot be served, by what it would be."""
        self._following = following or Following(MemoryFeed())
        self._intake = Intake(open_log, self._following, self._learn, self._is_erased)
        self._one_at_a_time = threading.Lock()
        self._turn = 0
        """How often what was known before no longer held."""
        self._joining: Engine | None = None
        """One that is about to answer; it hears of closes and classes as those that answer do."""

    @property
    def engine(self) -> Engine:
        """The published bundle that answers now."""
        return self._arms.champion

    @property
    def arms(self) -> Arms:
        """All bundles that are asked now."""
        return self._arms

    @property
    def refused(self) -> Refusal | None:
        """Alarm: what is current cannot be served, or else what stands beside it."""
        return next(iter([self.refusals[role] for role in ROLES if role in self.refusals]), None)

    def refuse(self, role: Role, refusal: Refusal | None) -> None:
        """Raise the alarm, or end it."""
        others = {one: told for one, told in self.refusals.items() if one != role}
        self.refusals = others if refusal is None else {**others, role: refusal}
        measures.REFUSED.labels(role).set(refusal is not None)

    def explore(self, *, wanted: bool) -> None:
        """Draw slates from now on, or show the best."""
        self.explores = wanted
        measures.EXPLORES.set(wanted)

    def challengers(self) -> dict[str, Any]:
        """Say which versions stand beside the published one."""
        canary, shadow = self._arms.canary, self._arms.shadow
        told = {"canary": canary.engine.version, "share": canary.share} if canary else {}
        return told | ({"shadow": shadow.engine.version} if shadow else {})

    def begins(self, known: int) -> str:
        """Say in one line what is served, by which policy, and how many events are known."""
        engine = self.engine
        return f"{engine.version}: {engine.told()}; {known} events known again"

    def acted(self) -> set[str]:
        """Return the items that investors acted on, until the cut and since."""
        with self._intake.following() as following:
            since = {one.item_id for one in following.known.events.values()}
        return since | self.engine.acted()

    @property
    def log(self) -> ServedLog:
        """The open segment."""
        return self._intake.log

    def restore(self, records: Iterable[Record]) -> int:
        """Take in what the log of before holds; return how many events that were."""
        found = self._intake.restore(records)
        self.lay_out()
        return found

    def catch_up(self) -> bool:
        """Know what all processes know; tell whether that is sure."""
        return self._intake.catch_up()

    def lay_out(self) -> None:
        """Know what all processes know, and let answers from now on read all closes of it.

        It takes a while where closes came, so whoever answers does not wait for it.
        """
        self.catch_up()
        for engine in self._arms.engines():
            lay_out(engine)

    def hear(self) -> None:
        """Know what other processes showed."""
        if self._showing is not None:
            self._showing.tell(self.engine.exposures)

    def recommend(
        self,
        request_id: str,
        user_id: str,
        moment: int,
        k: int | None,
        deadline: Deadline | None = None,
        channel: str | None = None,
    ) -> Slate:
        """Draw a slate of k positions, or as many as were judged, and log it with its channel.

        See `Engine.answer`.
        """
        is_sure = self.catch_up()
        self.hear()
        arms = self._arms
        engine = arms.of(user_id)
        k, came = k or engine.slate_size, time.perf_counter()
        with self._one_at_a_time:
            waited_s = time.perf_counter() - came
            asked, odd = self._drawing(engine, is_sure=is_sure)
            slate = asked.answer(request_id, user_id, moment, k, deadline)
            slate.took_s["turn"] = waited_s
            let_go(engine, user_id, moment)
            slate = replace(slate, flags=flagged(slate.flags, *odd))
            begun = time.perf_counter()
            written = self._intake.append(record_of(slate, channel) | arms.told())
            wait([written], _SOON_S)
        try:
            on_disk(written)
        except (OSError, TimeoutError):
            slate = unexplored(slate, k)
        else:
            engine.showed(slate)
            if arms.shadow is not None:
                arms.shadow.offer(slate)
        slate.took_s["log"] = time.perf_counter() - begun
        measures.count_slate(slate)
        return _named(slate, engine)

    def _drawing(self, engine: Engine, *, is_sure: bool) -> tuple[Engine, tuple[str, ...]]:
        """Return what answers now, and the flags of what it answers."""
        odd = () if is_sure else (DEGRADED,)
        return (engine, odd) if self.explores else (engine.undrawn(), (*odd, UNDRAWN))

    def recommend_inline(
        self,
        request_id: str,
        done: Iterable[tuple[str, str, int]],
        moment: int,
        k: int | None,
        deadline: Deadline | None = None,
    ) -> Slate:
        """Show the best to a stranger who did this (item, action, moment); nothing is kept of it.

        What is not logged may not be drawn, and a history that is not kept cannot be judged by.
        """
        self.catch_up()
        engine = self.engine.for_stranger(done)
        with self._one_at_a_time:
            slate = engine.answer(request_id, "", moment, k or engine.slate_size, deadline)
        slate = replace(slate, flags=flagged(slate.flags, "inline"))
        measures.count_slate(slate)
        return _named(slate, engine)

    def happened(
        self, events: Iterable[Event], untimed: Container[int] = frozenset()
    ) -> list[Status]:
        """Log events, then know them; return what became of each.  See `Intake.happened`."""
        found = self._intake.happened(events, untimed)
        measures.count_events(found)
        return found

    def priced(self, closes: Iterable[Close]) -> int:
        """Log closes, then know them; return how many said something new.  See `Intake.priced`."""
        new = self._intake.priced(closes)
        self.lay_out()
        return new

    def classed(self, classes: Iterable[InvestorClass]) -> int:
        """Log classes, then know them; return how many said something new.

        The very next slate of such an investor is suitable by them.  See `Intake.classed`.
        """
        return self._intake.classed(classes)

    def note(self, record: Record) -> None:
        """Log what tells of no slate and no event.

        Raises
        ------
        OSError, TimeoutError
            If it cannot be written.
        """
        on_disk(self._intake.append(record))

    def forget(self, user_id: str) -> int:
        """Forget what an investor did until now, for good.  See `Intake.forget`."""
        forgotten = self._intake.forget(user_id)
        self.drop_erased()
        return forgotten

    def drop_erased(self) -> None:
        """Let go of what was read of and shown to whoever was erased, by whichever process."""
        for engine in self._arms.engines():
            drop_erased(engine)

    def swap(self, engine: Engine) -> None:
        """Answer from another bundle from now on; requests under way end on the old one."""
        self._take_up(engine, lambda arms: replace(arms, champion=engine))

    def try_out(self, engine: Engine | None, share: float = 0.0) -> None:
        """Let a canary answer a share of the investors from now on, or none."""
        canary = None if engine is None else Canary(engine, share)
        self._take_up(engine, lambda arms: replace(arms, canary=canary))

    def overshadow(self, engine: Engine | None) -> None:
        """Let a challenger score what is asked from now on, or none."""
        before = self._arms.shadow
        shadow = None if engine is None else Shadow(engine, self._intake.append)
        self._take_up(engine, lambda arms: replace(arms, shadow=shadow))
        if before is not None:
            before.close()

    def _take_up(self, engine: Engine | None, change: Callable[[Arms], Arms]) -> None:
        """Change who answers; a new bundle is first told all that happened."""
        if engine is None:
            with self._intake.following():
                self._arms = change(self._arms)
            return
        self._share(engine)
        try:
            self._bring_up(engine, change)
        finally:
            self._joining = None
        lay_out(engine)

    def _bring_up(self, engine: Engine, change: Callable[[Arms], Arms]) -> None:
        """Tell a bundle all that happened, most of it while nobody waits, and let it answer."""
        with self._intake.following() as following:
            self._joining = engine
            known, turn = list(following.known.events.values()), self._turn
            closes, classes = list(following.known.closes), list(following.known.classes)
        price(engine, closes)
        classify(engine, classes)
        lay_out(engine)
        feed(engine, known)
        with self._intake.following() as following:
            events = list(following.known.events.values())
            if turn == self._turn:
                feed(engine, events[len(known) :])
            else:
                begin_again(engine, events, following.known.classes)
            self._arms = change(self._arms)

    def _is_erased(self, one: Event | InvestorClass) -> bool:
        erased = self.engine.scorer.erased
        return erased is not None and erased.covers(one.user_id, one.moment)

    def _share(self, engine: Engine) -> None:
        """Let an engine know what was shown and who was erased, as the one that answers does."""
        engine.exposures.adopt(self.engine.exposures)
        if engine.scorer.erased is not None and self.engine.scorer.erased is not None:
            engine.scorer.erased.adopt(self.engine.scorer.erased)

    def inform(self, engine: Engine) -> None:
        """Let an engine that answers nobody know all that happened."""
        self._share(engine)
        with self._intake.following() as following:
            following.catch_up()
            begin_again(engine, following.known.events.values(), following.known.classes)
            closes = list(following.known.closes)
        price(engine, closes)
        lay_out(engine)

    def roll(self) -> None:
        """Begin another segment; what waits is written into the one before."""
        self._intake.roll()

    def close(self) -> None:
        """Write what waits."""
        if self._arms.shadow is not None:
            self._arms.shadow.close()
        self._intake.close()
        if self._showing is not None:
            self._showing.close()

    def _learn(self, learnt: Learnt) -> None:
        joining = [self._joining] if self._joining is not None else []
        for engine in (*self._arms.engines(), *joining):
            price(engine, learnt.closes)
            classify(engine, learnt.classes)
        if learnt.again:
            self._turn += 1
            known = self._following.known
            for engine in self._arms.engines():
                begin_again(engine, known.events.values(), known.classes)
        else:
            for engine in self._arms.engines():
                feed(engine, learnt.new)


def _named(slate: Slate, engine: Engine) -> Slate:
    shown = [slate.drawn.candidate_ids[one] for one in slate.drawn.shown()]
    return replace(slate, facts={item: engine.people.facts(item) for item in shown})
