"""How much each closed form counts beside the trunk: what is best on the validation period.

The trunk is not trained again: its states are taken once, and every mix is tried on them.

Legend: Q people who are asked, V items with padding first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tessera.contracts.arrow import DAY_US
from tessera.features.demand import Sale, expected_gains, mean_gains
from tessera.hstu.closed_form import acquired_before
from tessera.hstu.demand import Demand, Trend
from tessera.hstu.histories import VALIDATION, Bools, Ints
from tessera.hstu.item_weights import ItemWeights
from tessera.hstu.model import SequenceModel
from tessera.hstu.params import HstuParams
from tessera.hstu.profit import Profit
from tessera.hstu.scoring import (
    Floats,
    asking,
    item_vectors,
    ndcg,
    placed,
    top_items,
    trunk_states,
)
from tessera.hstu.sequences import Windows, last_windows
from tessera.hstu.world import Question, World, action_codes, ask, learn_until, microsecond

VALIDATION_K = 10
_MOST_ASKED = 5000
"""People on whom the mixes are tried, evenly spaced: there are many mixes."""


@dataclass(frozen=True, slots=True)
class Check:
    """What the validation period asks of a model."""

    question: Question
    windows: Windows
    allowed_V: Bools
    filter_seen: bool

    def ndcg(self, asking_QD: Floats, item_VD: Floats, placed_V: Bools) -> float:
        """Return nDCG@10 of the lists of those who ask."""
        seen = self.question.seen if self.filter_seen else None
        lists = top_items(asking_QD, item_VD, self.allowed_V & placed_V, seen, VALIDATION_K)
        return ndcg(lists, self.question.relevant, len(self.allowed_V))

    def sample(self, most: int) -> Check:
        """Return what at most so many of the people ask, evenly spaced."""
        count = len(self.windows)
        if count <= most:
            return self
        rows = np.linspace(0, count - 1, most).astype(np.int64)
        place_Q = np.full(count, -1)
        place_Q[rows] = np.arange(most)

        def kept(pairs: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
            row, item = pairs
            is_kept = place_Q[row] >= 0
            return place_Q[row[is_kept]], item[is_kept]

        asked = self.question
        question = Question(
            asked.user_Q[rows],
            asked.stop_Q[rows],
            asked.request_Q[rows],
            kept(asked.seen),
            kept(asked.relevant),
        )
        return Check(question, self.windows.take(rows), self.allowed_V, self.filter_seen)


def period_check(world: World, params: HstuParams) -> Check | None:
    """Return what is asked; None if nobody can be asked."""
    question = ask(world.histories, world.split, params, VALIDATION)
    if not len(question.relevant[0]):
        return None
    first_Q = world.histories.first_U1[question.user_Q]
    windows = last_windows(first_Q, question.stop_Q, question.request_Q, params.length)
    allowed_V = world.catalogue.candidates_V(world.split, world.split.validation_from, params)
    return Check(question, windows, allowed_V, params.filter_seen)


def choose_mix(model: SequenceModel, world: World, params: HstuParams) -> float | None:
    """Let each closed form count as much as is best on the validation period.

    Returns
    -------
    float or None
        The nDCG@10 of the best mix on the people it was tried on, so a little too high; None where
        there was nothing to choose.
    """
    found = model.closed_form
    if model.shape.profits:
        found.let(profit=params.profit_weight)
    values = mix_values(model, world, params)
    if not values:
        return None
    best = int(np.argmax(values))
    found.let(**list(found.choices())[best])
    return values[best]


def mix_values(model: SequenceModel, world: World, params: HstuParams) -> list[float]:
    """Return the nDCG@10 of each choice on the validation period; none if there is no choice.

    The closed forms are left as they were known when validation began, with the last choice.
    """
    found = model.closed_form
    choices = list(found.choices())
    check = period_check(world, params) if len(choices) > 1 else None
    if check is None:
        return []
    check = check.sample(_MOST_ASKED)
    learn_closed_form(model, world, params, at_cut=False)
    state_QD = trunk_states(model, world.histories, check.windows)
    values = []
    for mix in choices:
        found.let(**mix)
        asking_QD = asking(model, state_QD, world.histories, check.windows)
        values.append(check.ndcg(asking_QD, item_vectors(model), placed(model)))
    return values


def learn_closed_form(
    model: SequenceModel, world: World, params: HstuParams, *, at_cut: bool
) -> None:
    """Learn from what was known when validation began, or at the cut.

    The trend is held against what the trunk has learnt from, which is less unless it was `refit`.
    """
    found, catalogue = model.closed_form, world.catalogue
    if not found.parts:
        return
    actions = action_codes(params.targets)
    acquired = acquired_before(world.histories, learn_until(world.histories, refit=at_cut), actions)
    found.like(actions)
    begins, cut = microsecond(world.split.validation_from), microsecond(world.split.cut)
    now, taught = (cut if at_cut else begins), (cut if at_cut and params.refit else begins)
    sale = Sale(catalogue.from_V, catalogue.class_V)
    gain_V, mean_V = np.zeros(0), np.zeros(0)
    if "demand" in found.parts:
        gain_V = expected_gains(acquired, sale, now, params.demand_days)
        mean_V = mean_gains(acquired, len(gain_V), taught, params.demand_days)
    for part in found.parts.values():
        if isinstance(part, ItemWeights):
            part.learn(acquired, params.item_weights_l2)
        elif isinstance(part, Demand):
            part.learn(acquired, sale, gain_V)
        elif isinstance(part, Trend):
            part.learn(gain_V, mean_V)
        elif isinstance(part, Profit) and world.closes is not None:
            part.learn(world.closes, catalogue.class_V, now // DAY_US)
