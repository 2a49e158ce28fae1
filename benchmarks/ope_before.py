"""What the gate bounded before: kept here alone, so that tables can show the old beside the new.

The score flipped the champion's rewards, so its spread held all that both policies share; the bets
of the sequence grew with what was seen, and its running maximum remembered a lift that was gone.

Shapes: N requests.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrays import Float64s
from tessera.offpolicy.estimators import cascade_dr
from tessera.offpolicy.replay import Replay, slate_log
from tessera.offpolicy.requests import NOBODY, Requests


def flipped_score(
    log: Requests, candidate: Replay, champion: Replay, guess_NLC: Float64s, cap: float
) -> Float64s:
    """A_candidate(r) + A_champion(1 - r) - L, unbiased for the lift, at least -L (2 cap + 1)."""
    filled_NL = (log.chosen_NL != NOBODY).astype(np.float64)
    low_NLC = _cut(guess_NLC, candidate, cap)
    high_NLC = _cut(1.0 - low_NLC, champion, cap)
    gain_N = cascade_dr(slate_log(log, candidate, log.reward_NL, low_NLC))
    loss_N = cascade_dr(slate_log(log, champion, filled_NL - log.reward_NL, high_NLC))
    return np.asarray(gain_N + loss_N - filled_NL.sum(axis=1))


def flipped_floor(positions: int, cap: float) -> float:
    """How far below zero a flipped score can fall."""
    return positions * (2.0 * cap + 1.0)


def _cut(guess_NLC: Float64s, policy: Replay, cap: float) -> Float64s:
    return np.asarray(np.minimum(guess_NLC, cap / np.maximum(policy.weight_NLC, cap)))


def growing_bets(score_N: Float64s, floor: float, alpha: float) -> float:
    """Bound by a running maximum, with bets that follow what was seen (arXiv 2210.10768).

    A bound of one mean that never changes, which is not what a drifting log has.
    """
    x_N, count_N = 1.0 + score_N / floor, np.arange(1.0, len(score_N) + 1.0)
    before_N = np.minimum((1.0 + np.cumsum(x_N) - x_N) / count_N, 1.0)
    square_N = (x_N - before_N) ** 2
    spread_N = (0.25 + np.cumsum(square_N) - square_N) / count_N
    surprise = np.log(1 / alpha)
    bet_N = np.minimum(np.sqrt(2 * surprise / (spread_N * count_N * np.log1p(count_N))), 0.5)
    gain_N = np.cumsum(bet_N * x_N + square_N * (np.log1p(-bet_N) + bet_N)) - surprise
    return float(max(-floor, floor * (gain_N / np.cumsum(bet_N) - 1.0).max()))
