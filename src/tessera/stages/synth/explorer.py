"""How the house explores: what chooses every slate of the market, and what it has learnt.

`softmax` and `epsilon_greedy` go by the house's scores for ever.  `thompson` starts from them and
learns from clicks what each item is worth beside; it learns at the start of a block what was
clicked by then.  A budget, if there is one, is spent in the order of visits, before any draw.

Shapes: N visits of one chunk, L positions, C candidates, I items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.tables import UNEXPLORED
from tessera.shared.policies.exploration import (
    Belief,
    ThompsonPolicy,
    learnt_score,
    may_explore,
    thompson_step,
    within_budget,
)
from tessera.shared.policies.slate import (
    SlatePolicy,
    Step,
    draw_slates,
    epsilon_greedy,
    scored_step,
)
from tessera.stages.synth.behaviour import Market, Visits, logging_scores
from tessera.stages.synth.interactions import CLICK, DAY, Interactions, Slates, take
from tessera.stages.synth.params import SynthParams

POLICY_ID = "v0"
CONTEXT_VERSION = "market-1"
SPREAD = 0.5
"""Of `thompson`: standard deviation of what it believes of an item's log-odds at first; ours."""


@dataclass(frozen=True, slots=True)
class Grounds:
    """What the house goes by at some visits."""

    score_NC: Float64s
    stddev_NC: Float64s
    """How unsure the scores are; 0 unless the house learns."""
    explores_N: Bools
    """Has budget left."""
    context: str
    """Version of what the scores were worked out from."""


def logging_policy(params: SynthParams) -> SlatePolicy | ThompsonPolicy:
    """Build the policy of the house until now."""
    if params.explorer == "thompson":
        return ThompsonPolicy(params.draws, params.epsilon, params.seed)
    if params.explorer == "epsilon_greedy":
        return epsilon_greedy(params.epsilon)
    return SlatePolicy(params.temperature, params.epsilon, params.top_k)


def house_step(
    policy: SlatePolicy | ThompsonPolicy, score_NC: Float64s, stddev_NC: Float64s, explores_N: Bools
) -> Step:
    """Say how the house fills a position, given what it goes by."""
    if isinstance(policy, ThompsonPolicy):
        step = thompson_step(Belief(score_NC, stddev_NC), policy)
    else:
        step = scored_step(score_NC, policy)
    return step if explores_N.all() else within_budget(step, score_NC, explores_N)


def policy_ids(params: SynthParams) -> tuple[str, str]:
    """Name the policy where it explores and where its budget is spent."""
    name = POLICY_ID if params.explorer == "softmax" else f"{POLICY_ID}/{params.explorer}"
    return name, name + UNEXPLORED


class Explorer:
    """The house's policy as the days go by."""

    def __init__(self, market: Market, user_N: Ints, at_us_N: Ints) -> None:
        params = market.params
        self._market = market
        self._policy = logging_policy(params)
        self._explores_N = (
            np.ones(len(user_N), dtype=np.bool_)
            if params.explore_per_day is None
            else may_explore(user_N, at_us_N // DAY, params.explore_per_day)
        )
        self._shown_I = np.zeros(params.items, dtype=np.int64)
        self._showing_I = np.zeros(params.items, dtype=np.int64)
        self._clicked_I = np.zeros(params.items, dtype=np.int64)
        self._waiting: list[tuple[Ints, Ints]] = []
        """Times and items of clicks still to be learnt."""
        self._block = 0

    def grounds(self, now: Visits, item_NC: Ints, first: int) -> Grounds:
        """Work out what the house goes by at visits from number `first` on."""
        params = self._market.params
        score_NC = logging_scores(self._market, now, item_NC)
        stddev_NC = np.zeros(score_NC.shape)
        context = CONTEXT_VERSION
        if params.explorer == "thompson":
            learnt_I, stddev_I = learnt_score(self._shown_I, self._clicked_I, SPREAD)
            score_NC, stddev_NC = score_NC + learnt_I[item_NC], stddev_I[item_NC]
            context += f"/day-{self._block}/draws-{params.draws}/seed-{params.seed}"
        if params.explorer != "softmax" or params.explore_per_day is not None:
            # As the answers are kept: what is near a tie must not turn over when read again.
            score_NC, stddev_NC = _as_kept(score_NC), _as_kept(stddev_NC)
        explores_N = self._explores_N[first : first + len(item_NC)]
        return Grounds(score_NC, stddev_NC, explores_N, context)

    def show(
        self, at: Grounds, now: Visits, at_us_N: Ints, item_NC: Ints, rng: np.random.Generator
    ) -> Slates:
        """Draw the slates of these visits."""
        step = house_step(self._policy, at.score_NC, at.stddev_NC, at.explores_N)
        everything_NC = np.ones(item_NC.shape, dtype=bool)
        drawn = draw_slates(step, everything_NC, self._market.params.positions, rng)
        return Slates(now.user_N, at_us_N, item_NC, *drawn)

    def remember(self, slates: Slates, interactions: Interactions) -> None:
        """Note what was shown and clicked."""
        shown_NL = np.take_along_axis(slates.item_NC, slates.chosen_NL, axis=1)
        self._showing_I += np.bincount(shown_NL.ravel(), minlength=len(self._showing_I))
        clicks = take(interactions, (interactions.action_M == CLICK) & interactions.from_slate_M)
        self._waiting.append((clicks.at_us_M, clicks.item_M))

    def learn(self, day: int) -> None:
        """Take in the clicks made before a day begins; later ones wait."""
        self._block = day
        self._shown_I += self._showing_I  # with their clicks, or all would look unwanted at first
        self._showing_I[:] = 0
        if not self._waiting:
            return
        at_us_M, item_M = (np.concatenate(column) for column in zip(*self._waiting, strict=True))
        made_M = at_us_M < day * DAY
        self._clicked_I += np.bincount(item_M[made_M], minlength=len(self._clicked_I))
        self._waiting = [(at_us_M[~made_M], item_M[~made_M])]


def _as_kept(value_NC: Float64s) -> Float64s:
    return value_NC.astype(np.float32).astype(np.float64)
