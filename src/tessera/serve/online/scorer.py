"""Scores of the ranking head and the vector that asks for items, both as of now.

Shapes: C candidates, D width of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from tessera.contracts.arrays import Float32s, Ints
from tessera.model.nn.device import threads
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.requests import Requests, windows_before
from tessera.model.trunk.inference import encode
from tessera.model.trunk.log_scores import Known, score_log
from tessera.serve.online.investor import (
    ME,
    NOTHING,
    LiveFacts,
    Past,
    facts_of,
    history_of,
    past_of,
    until,
)
from tessera.serve.online.recent import Recent
from tessera.serve.online.state import OnlineState
from tessera.serve.ranker import Ranker
from tessera.shared.features.facts import NOBODY


@dataclass(frozen=True, slots=True)
class Now:
    """An investor at the moment of a request; nothing of it is younger."""

    moment: int
    """Microseconds since 1970."""
    past: Past
    facts: LiveFacts
    history: Histories
    user: int
    """Number in the history, NOBODY for somebody who never did anything."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """The model of a bundle beside what came after its cut."""

    ranker: Ranker
    state: OnlineState
    recent: Recent

    @classmethod
    def fresh(cls, ranker: Ranker) -> Self:
        """Start with what the bundle knows."""
        recent = Recent(ranker.facts)
        state = OnlineState(ranker.row, recent, tied_sets=ranker.model.shape.tied_sets)
        return cls(ranker, state, recent)

    def now(self, user_id: str, moment: int) -> Now:
        """Gather what is known of an investor strictly before a moment."""
        ranker = self.ranker
        known = past_of(ranker.histories, ranker.person[user_id]) if self.is_old(user_id) else NOTHING
        past = until(known.followed_by(self.state.past(user_id)), moment)
        facts = facts_of(past, ranker.person.get(user_id, NOBODY), ranker.facts, self.recent)
        if not len(past):
            return Now(moment, past, facts, ranker.histories, NOBODY)
        return Now(moment, past, facts, history_of(past, tied_sets=self._tied_sets), ME)

    def is_old(self, user_id: str) -> bool:
        """Tell whether the bundle holds a history of the investor."""
        return self.ranker.has_acted(user_id)

    def vector(self, now: Now) -> Float32s | None:
        """Return the unit vector D that asks for items; None for somebody who never did anything."""
        if now.user == NOBODY:
            return None
        length = self.ranker.model.shape.length
        user, moment = np.array([now.user]), np.array([now.moment])
        windows = windows_before(now.history, user, moment, length)
        with threads(1):
            (vector_D,) = encode(self.ranker.model, now.history, windows)
        return np.asarray(vector_D)

    def scores(self, now: Now, item_C: Ints) -> Float32s:
        """Return what the model serves with for rows of its item table, best largest."""
        asked = Requests(
            user_R=np.array([now.user]),
            moment_R=np.array([now.moment]),
            first_R1=np.array([0, len(item_C)]),
            item_C=item_C,
        )
        # A bundle carries no effects of being shown, and 0 is an average one.
        known = Known(np.array([ME]), item_C, np.zeros(len(item_C), np.float32))
        with threads(1):
            return score_log(self.ranker.model, now.facts, now.history, asked, known).served_C

    @property
    def _tied_sets(self) -> bool:
        return self.ranker.model.shape.tied_sets
