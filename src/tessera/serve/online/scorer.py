"""Scores of the ranking head and the vector that asks for items, both as of now.

Shapes: C candidates, D width of a vector.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from tessera.contracts.arrays import Float32s, Ints
from tessera.model.nn.device import threads
from tessera.model.nn.ranking import TASKS, Task
from tessera.model.trunk.log_scores import aligned
from tessera.model.trunk.one_pass import Pass, Reader, Scored
from tessera.serve.classes import Counted, InvestorClass, counted
from tessera.serve.erased import Erased
from tessera.serve.online.counts import ItemCounts
from tessera.serve.online.investor import (
    ME,
    NOTHING,
    LiveFacts,
    Past,
    facts_of,
    history_of,
    past_of,
    risk_classes,
    until,
)
from tessera.serve.online.kept import KeptHistories
from tessera.serve.online.prices import Prices
from tessera.serve.online.recent import Recent
from tessera.serve.online.state import Known, OnlineState
from tessera.serve.ranker import Ranker
from tessera.shared.erased import NEVER
from tessera.shared.features.facts import NOBODY
from tessera.shared.features.ranking import slate_features

ANSWERS: tuple[Task, ...] = ("click", "buy", "dismiss")
"""Tasks of the ranking head whose outcome comes soon; how long something is held does not."""


@dataclass(frozen=True, slots=True)
class Now:
    """An investor at the moment of a request; nothing of it is younger."""

    moment: int
    """Microseconds since 1970."""
    since: Known
    """What had arrived."""
    past: Past
    facts: LiveFacts
    user: int
    """ME, or NOBODY for somebody who never did anything."""
    read: Pass
    """The history as the model has read it."""
    erased_until: int
    """Nothing of the investor counts until then."""
    is_gone: bool
    """Whether the investor was erased after the bundle's cut."""
    classed: Counted | None = None
    """Class that was told and counts; None where it is what the bundle says."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """The model of a bundle beside what came after its cut."""

    ranker: Ranker
    state: OnlineState
    reader: Reader
    kept: KeptHistories
    counts: ItemCounts
    erased: Erased | None = None

    @classmethod
    def fresh(cls, ranker: Ranker, kept_mb: float = 256.0, erased: Erased | None = None) -> Self:
        """Start with what the bundle knows; keep read histories up to so many megabytes.

        Of whom was `erased` after the bundle's cut, what it holds is not read.
        """
        recent = Recent(ranker.facts)
        prices = Prices(ranker.facts.closes, ranker.row, ranker.moment)
        state = OnlineState(
            ranker.row, recent, tied_sets=ranker.model.shape.tied_sets, prices=prices
        )
        kept, counts = KeptHistories(kept_mb), ItemCounts(ranker.facts)
        return cls(ranker, state, Reader.of(ranker.model), kept, counts, erased)

    def begin_again(
        self,
        events: Iterable[tuple[str, str, str, str, int]],
        classes: Iterable[InvestorClass] = (),
    ) -> None:
        """Know these events and classes instead of all before, and nothing read of those."""
        self.state.begin_again(events, classes)
        self.kept.clear()

    def now(self, user_id: str, moment: int) -> Now:
        """Gather what is known of an investor strictly before a moment."""
        ranker = self.ranker
        erased_until = self.erased_until(user_id)  # each time a look at the disk
        is_gone = ranker.moment - 1 <= erased_until
        person = NOBODY if is_gone else ranker.person.get(user_id, NOBODY)
        is_old = ranker.has_acted(user_id) and not is_gone
        known = past_of(ranker.histories, person) if is_old else NOTHING
        since = self.state.known(user_id)
        past = until(known.followed_by(self.state.past(since.events)), moment)
        closes = since.priced.closes if since.priced else None
        mine = (one for one in since.classes if one.moment > erased_until)
        classed = counted(mine, ranker.published(person), moment)
        told = None if classed is None else (moment, classed.risk_class)
        classes = risk_classes(ranker.facts, person, told)
        facts = facts_of(past, classes, ranker.facts, self.counts, since.all, closes)
        user, history = NOBODY, ranker.histories
        if len(past):
            user, history = ME, history_of(past, tied_sets=self._tied_sets)
        with threads(1):
            read = self.reader.read(history, user, moment, self.kept.of(user_id))
        self.kept.keep(user_id, read.settled)
        return Now(moment, since, past, facts, user, read, erased_until, is_gone, classed)

    def for_stranger(self, done: Iterable[tuple[str, str, int]]) -> Scorer:
        """Return one that knows a stranger alone, who did this; see `OnlineState.only`."""
        return replace(self, state=self.state.only(done), kept=KeptHistories(0))

    def erased_until(self, user_id: str) -> int:
        """Return until when nothing of an investor counts any more."""
        return NEVER if self.erased is None else self.erased.until(user_id)

    def vector(self, now: Now) -> Float32s | None:
        """Return the unit vector D that asks for items; None for whoever never did anything."""
        if now.user == NOBODY:
            return None
        with threads(1):
            return now.read.vector()

    def scores(self, now: Now, item_C: Ints) -> Float32s:
        """Return what the model serves with for rows of its item table, best largest."""
        return self.scored(now, item_C).score_M

    def scored(self, now: Now, item_C: Ints) -> Scored:
        """Return what the model says of rows of its item table."""
        shape = self.ranker.model.shape
        person_R, moment_R = np.array([ME]), np.array([now.moment])
        names, feature_RMF = slate_features(
            now.facts, person_R, moment_R, item_C[None], shape.feature_groups
        )
        with threads(1):
            return now.read.scored(
                now.moment, item_C, aligned(feature_RMF, names, shape.features)[0]
            )

    def chances(self, logit_LT: Float32s | None) -> dict[str, Float32s] | None:
        """Return the probabilities of what is measured of a slate, from the top: its log odds.

        None where the model serves with the cosine.
        """
        if logit_LT is None:
            return None
        chance_LT = self.reader.chances(logit_LT)
        return {task: chance_LT[:, TASKS.index(task)] for task in ANSWERS}

    @property
    def _tied_sets(self) -> bool:
        return self.ranker.model.shape.tied_sets
