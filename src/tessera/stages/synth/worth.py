"""What a slate is truly worth at a visit, and what the house's policy and one who knows would earn.

    P(response at position k) = 1 - (1 - reach_k click) (1 - shown)

Shapes: I items, C candidates, L positions.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from tessera.contracts.arrays import Float64s, Ints
from tessera.shared.policies.slate import step_marginals
from tessera.stages.synth.behaviour import logging_scores
from tessera.stages.synth.explorer import house_step, logging_policy
from tessera.stages.synth.interactions import EXAMINATION
from tessera.stages.synth.log import draw_candidates
from tessera.stages.synth.town import Visit


def reward_LC(visit: Visit, item_C: Ints, length: int) -> Float64s:
    """Return the probability of a response (click, or purchase in time) by position and item."""
    answers = visit.answers(item_C)
    reach_L = EXAMINATION ** np.arange(length)
    miss_LC = 1.0 - reach_L[:, None] * answers.click_NC[0]
    reward: Float64s = 1.0 - miss_LC * (1.0 - answers.shown_NC[0])
    return reward


def worth_shown(visit: Visit, item_L: Ints) -> float:
    """Return the expected responses to items that were shown, from the top."""
    return float(np.trace(reward_LC(visit, item_L, len(item_L)))) if len(item_L) else 0.0


def worth_drawn(visit: Visit, item_C: Ints, probability_LC: Float64s) -> float:
    """Return the expected responses to a slate drawn with these probabilities."""
    if not len(item_C):
        return 0.0
    return float((probability_LC * reward_LC(visit, item_C, len(probability_LC))).sum())


def worth_of_house(visit: Visit, rng: np.random.Generator) -> float:
    """Return the expected responses to the policy that wrote the log, over candidates it draws."""
    params = visit.market.params
    item_NC = draw_candidates(visit.seen, params.candidates, rng)
    score_NC = logging_scores(visit.market, visit.seen, item_NC)
    explores_N = np.ones(1, np.bool_)
    step = house_step(logging_policy(params), score_NC, np.zeros(score_NC.shape), explores_N)
    marginal_NLC = step_marginals(step, np.ones(item_NC.shape, np.bool_), params.positions)
    return worth_drawn(visit, item_NC[0], marginal_NLC[0])


def worth_of_best(visit: Visit, length: int) -> float:
    """Return the expected responses to the best slate of what suits and is on sale."""
    item_C = np.flatnonzero(visit.seen.open_NI[0])
    reward = reward_LC(visit, item_C, length)
    # What is bought wherever it stands may give its place at the top to what is clicked.
    return float(reward[linear_sum_assignment(reward, maximize=True)].sum())
