"""The paired score that the gate bounds: candidate minus champion on one slate, with a floor.

An anytime-valid bound without tails needs a score that cannot fall below a floor known before the
data.  Weights w_1:k of a slate can be anything, so the score is built position by position from the
*difference* of the two weights and never cuts a weight in the candidate's favour:

    d_k(a) = w_e,1:k-1 pi_e(a) / p(a) - w_c,1:k-1 pi_c(a) / p(a)          e candidate, c champion
    score  = sum over k of d_k(a_k) (y_k - q_k(a_k)) + sum_a p(a) d_k(a) q_k(a) - paid_k

1. The reward model q in [0, 1] is moved before the draw, to at most cap / d where d > 0 and to at
   least 1 - cap / |d| where d < 0.  The first two terms stay unbiased whatever q says, and each
   position loses at most `cap` by its draw.
2. What stands above a position multiplies everything below it.  From a drawn prefix on, the rest
   of the slate can lose at most

       loss(prefix) = sum over the slates below of (mass of c - mass of e)^+ at each position

   for rewards in [0, 1]: a number that needs both policies but no logged probability.  Where it
   would exceed `prefix_cap` both weights are thinned to prefix_cap / loss, and what that can cost
   at most, sum_a p(a) (loss(a) - prefix_cap)^+, is paid before the draw.

   What the champion itself served weighs 1 for it, and can lose no more than the positions that
   are left: nothing is thinned there.

So the mean of the score is at most the lift, and equal to it where nothing is paid.  The score is
never below `score_floor`, and a policy against itself scores exactly 0 on every request.

One position, two items shown by the champion with p = (.9, .1), wanted with (.7, .3), q = (.5, .5):
item 2 has d = (.3 - .1) / .1 = 2, item 1 has d = (.7 - .9) / .9 = -.222; a click on item 2 scores
2 (1 - .5) + (-.2 x .5 + .2 x .5) = 1, no click -1.

Shapes: N requests, L positions, C candidates, R pairs of a request and a candidate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tessera.contracts import arrays, mapped
from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.offpolicy.replay import Ahead, Replay, ratio
from tessera.offpolicy.requests import NOBODY, Requests

Caps = tuple[float, float]
"""Most that the draw at a position can take from the score, and most that the positions below a
drawn prefix can."""
Pair = tuple[Float64s, Float64s]
"""Of the candidate and of the champion."""


@dataclass(frozen=True, slots=True)
class Paired:
    """The score of each request."""

    score_N: Float64s
    """Its mean is at most the lift."""
    floor: float
    """No score can lie below `-floor`, known before the data."""
    slope_NL: Float64s
    """What one more reward at a position would add."""
    paid_N: Float64s
    """What was taken off beforehand for thinned prefixes."""


def score_floor(positions: int, cap: float, prefix_cap: float) -> float:
    """How far below zero a paired score can fall, known before the data.

    `cap` for each draw; L for what all positions can lose from the empty prefix, and `prefix_cap`
    from each later one, if prefixes are thinned at all.
    """
    thinned = (positions - 1) * prefix_cap if np.isfinite(prefix_cap) else 0.0
    return positions * (cap + 1.0) + thinned


def distinct(caps: Iterable[Caps], champion: Replay, log: Requests) -> list[Caps]:
    """Return the caps to bet with, the narrowest first; the last pays least.

    Where the champion wrote all of the log nothing is thinned, and pairs that differ by no more
    than the cap of prefixes are one.
    """
    if champion.wrote(log).all():
        return sorted({(cap, np.inf) for cap, _ in caps})
    return sorted(set(caps), key=lambda one: one[::-1])


def paired_scores(
    log: Requests,
    policies: tuple[Replay, Replay],
    allowed_NC: Bools,
    guess_NLC: Float64s,
    cap: float,
    prefix_cap: float,
) -> Paired:
    """Score each request: the first policy less the second.

    Parameters
    ----------
    log : Requests
        Rewards in [0, 1].
    policies : pair of Replay
        Candidate and champion.
    allowed_NC : array of bool
        Candidates that may be shown at all.
    guess_NLC : array
        Reward model in [0, 1], from other data than these requests.
    cap, prefix_cap : float
        Most that the draw at a position can take away, and most that the positions below a drawn
        prefix can; fixed before the log is seen.

    Raises
    ------
    ValueError
        If an array is of another shape than the log.
    """
    arrays.shapes(
        candidate_NLC=policies[0].wanted_NLC, champion_NLC=policies[1].wanted_NLC,
        guess_NLC=guess_NLC, allowed_NC=allowed_NC, reward_NL=log.reward_NL,
    )  # fmt: skip
    requests, positions = log.chosen_NL.shape
    # Below a prefix that the champion served it weighs 1, and can lose no more than the positions
    # that are left: nothing to thin.
    prefix_cap_NL = np.where(policies[1].wrote(log), np.inf, prefix_cap)
    score_N, paid_N, lost_N = np.zeros(requests), np.zeros(requests), np.zeros(requests)
    slope_NL = np.zeros((requests, positions))
    row_N, open_NC = np.arange(requests), allowed_NC.copy()
    above: Pair = np.ones(requests), np.ones(requests)
    for k in range(positions):
        served_NC = log.served_NLC[:, k]
        mass: Pair = (above[0][:, None] * policies[0].wanted_NLC[:, k],
                      above[1][:, None] * policies[1].wanted_NLC[:, k])  # fmt: skip
        weight: Pair = ratio(mass[0], served_NC), ratio(mass[1], served_NC)
        gap_NC = weight[0] - weight[1]
        guess_NC = _moved(guess_NLC[:, k], gap_NC, cap)
        filled_N, at_N = log.chosen_NL[:, k] != NOBODY, np.maximum(log.chosen_NL[:, k], 0)
        slope_NL[:, k] = np.where(filled_N, gap_NC[row_N, at_N], 0.0)
        score_N += slope_NL[:, k] * (log.reward_NL[:, k] - guess_NC[row_N, at_N])
        score_N += (served_NC * gap_NC * guess_NC).sum(axis=1)
        below = positions - 1 - k
        over_NC, kept_NC = _thinned(weight, open_NC, below, policies, prefix_cap_NL[:, k])
        # What the log never shows is lost to the candidate and full of rewards for the champion.
        lost_NC = np.zeros_like(mass[1]) if policies[0] is policies[1] else mass[1]
        lost_N += (lost_NC * (served_NC <= 0)).sum(axis=1) * (below + 1)
        paid_N += (served_NC * over_NC).sum(axis=1)
        above = (np.where(filled_N, (weight[0] * kept_NC)[row_N, at_N], above[0]),
                 np.where(filled_N, (weight[1] * kept_NC)[row_N, at_N], above[1]))  # fmt: skip
        open_NC[row_N[filled_N], at_N[filled_N]] = False
    # With support, as the pre-checks ask, nothing is lost; without, no bound means anything.
    thins = float(prefix_cap_NL.min(initial=np.inf))
    floor = score_floor(positions, cap, thins) + float(lost_N.max(initial=0.0))
    paid_N += lost_N
    return Paired(score_N - paid_N, floor, slope_NL, paid_N)


def _moved(guess_NC: Float64s, gap_NC: Float64s, cap: float) -> Float64s:
    """Move the reward model so that no draw takes away more than `cap`."""
    reach_NC = cap / np.maximum(np.abs(gap_NC), cap)
    low_NC, high_NC = np.minimum(guess_NC, reach_NC), np.maximum(guess_NC, 1.0 - reach_NC)
    return np.where(gap_NC > 0, low_NC, high_NC)


def _thinned(
    weight: Pair,
    open_NC: Bools,
    below: int,
    policies: tuple[Replay, Replay],
    prefix_cap_N: Float64s,
) -> tuple[Float64s, Float64s]:
    """Return how far each next prefix exceeds its cap, and the share of it that is kept."""
    over_NC, kept_NC = np.zeros_like(weight[0]), np.ones_like(weight[0])
    # The champion cannot lose more than its mass at each position: few prefixes need a look ahead.
    row_R, at_R = np.nonzero(weight[1] * below > prefix_cap_N[:, None])
    if len(row_R) == 0:
        return over_NC, kept_NC
    mass = weight[0][row_R, at_R], weight[1][row_R, at_R]
    ahead = policies[0].ahead, policies[1].ahead
    if policies[0] is policies[1]:  # below any prefix it wants what it wants
        loss_R = np.maximum(mass[1] - mass[0], 0.0) * below
    elif ahead[0] is None or ahead[1] is None or _too_many(open_NC, below, prefix_cap_N):
        loss_R = mass[1] * below
    else:
        loss_R = _followed((row_R, at_R), open_NC, mass, below, (ahead[0], ahead[1]))
    cap_R = prefix_cap_N[row_R]
    over_NC[row_R, at_R] = np.maximum(loss_R - cap_R, 0.0)
    kept_NC[row_R, at_R] = cap_R / np.maximum(loss_R, cap_R)
    return over_NC, kept_NC


def _followed(
    pair_R: tuple[Ints, Ints], open_NC: Bools, mass: Pair, below: int, ahead: tuple[Ahead, Ahead]
) -> Float64s:
    """Do as `_loss` for pairs of a request and the item drawn there, some at a time."""
    row_R, at_R = pair_R
    loss_R = np.zeros(len(row_R))
    at_once = max(1, _AT_ONCE // open_NC.shape[1] ** min(below, _LOOK_AHEAD))
    for part in mapped.parts(len(row_R), at_once):
        open_RC = open_NC[row_R[part]].copy()
        open_RC[np.arange(len(open_RC)), at_R[part]] = False
        some = mass[0][part], mass[1][part]
        loss_R[part] = _loss(row_R[part], open_RC, some, below, ahead)
    return loss_R


def _too_many(open_NC: Bools, below: int, prefix_cap_N: Float64s) -> bool:
    """Tell from the shape of the log whether following nearly all prefixes would take for ever.

    Then all of the champion's mass counts as lost: more is paid, and the score stays a lower bound.
    """
    requests, candidates = open_NC.shape
    followed = requests * candidates ** (1 + min(below, _LOOK_AHEAD))
    return bool(prefix_cap_N.min() < below) and followed > _MOST_FOLLOWED


_MOST_FOLLOWED = 100_000_000
"""Items of slates below prefixes: minutes."""
_AT_ONCE = 5_000_000
"""Items of slates below prefixes that are held together."""
_LOOK_AHEAD = 2
"""Positions that are followed slate by slate; below them the champion is taken to lose its mass."""


def _loss(
    row_R: Ints,
    open_RC: Bools,
    mass: Pair,
    below: int,
    ahead: tuple[Ahead, Ahead],
    depth: int = _LOOK_AHEAD,
) -> Float64s:
    """Sum (mass of the champion - mass of the candidate)^+ over the slates below each prefix."""
    if depth == 0:
        return mass[1] * below
    candidate_RC = mass[0][:, None] * ahead[0](row_R, open_RC)
    champion_RC = mass[1][:, None] * ahead[1](row_R, open_RC)
    loss_R: Float64s = np.maximum(champion_RC - candidate_RC, 0.0).sum(axis=1)
    if below == 1:
        return loss_R
    at_R, next_R = np.nonzero(champion_RC)
    child_RC = open_RC[at_R].copy()
    child_RC[np.arange(len(at_R)), next_R] = False
    further = candidate_RC[at_R, next_R], champion_RC[at_R, next_R]
    child_R = _loss(row_R[at_R], child_RC, further, below - 1, ahead, depth - 1)
    return loss_R + np.bincount(at_R, child_R, len(row_R))
