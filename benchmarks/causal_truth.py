"""What holding an item really does in the embedded market, in the units of the estimate.

The state of every investor at the middle of a trial is replayed from the purchases so far; the
chance to acquire the effect until its end is then worked out with and without the cause:

    1 - exp(-visits x intensity x exp(strength x what is left of the cause))

and averaged over investors with the weights of the estimate, the squared residuals of holding the
cause. Purchases that come of being shown an item do not depend on holdings and are left out, and so
is what a cause does by way of a third item.

Legend: N pairs, U investors, I items, R rows, Q quantiles of what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tessera.contracts.arrays import Float64s
from tessera.contracts.arrow import DAY_US
from tessera.stages.causal.confounders import Rows
from tessera.stages.causal.pairs import Pairs
from tessera.stages.causal.panel import Trial
from tessera.stages.synth.behaviour import (
    BOOST_LIMIT,
    HOLDS_ALREADY,
    Market,
    organic_intensity,
    visits,
)
from tessera.stages.synth.log import EDGE_HALF_LIFE_DAYS

_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True, slots=True)
class History:
    """Everything bought, and who and what the panel's rows are, as numbers of the market."""

    user_M: NDArray[np.int64]
    item_M: NDArray[np.int64]
    ts_M: NDArray[np.int64]
    """Microseconds since the market's first day, as all times here."""
    user_U: NDArray[np.int64]
    item_I: NDArray[np.int64]
    edge_P: NDArray[np.int64]
    """Bounds of the trials."""


def numbers(names: NDArray[np.object_]) -> NDArray[np.int64]:
    """Read the market's numbers out of ids such as u000017."""
    return np.array([int(name[1:]) for name in names], np.int64)


def strengths(market: Market) -> Float64s:
    """Planted log-intensities, causes in rows."""
    size = market.params.items
    strength_II = np.zeros((size, size))
    for target_I, strength_I in zip(
        market.assets.target_IE.T, market.assets.strength_IE.T, strict=True
    ):
        planted = np.flatnonzero(target_I >= 0)
        np.add.at(strength_II, (planted, target_I[planted]), strength_I[planted])
    return strength_II


def risk_differences(
    market: Market, history: History, trials: list[Trial], rows: Rows, pairs: Pairs
) -> Float64s:
    """Work out the true effect of each pair; 0 where nothing is planted."""
    strength_II = strengths(market)
    number_I = history.item_I
    planted = np.flatnonzero(strength_II[number_I[pairs.cause_N], number_I[pairs.effect_N]])
    weight_NR = {k: _overlap(rows, pairs.cause_N[k], pairs.effect_N[k]) for k in planted}
    total_N2 = np.zeros((len(pairs.cause_N), 2))
    first = 0
    for trial, span in zip(trials, pairwise(history.edge_P.tolist()), strict=True):
        seen_U = np.flatnonzero(trial.observed_U)
        state = _State(market, history, strength_II, span)
        for k in planted:
            weight_R = weight_NR[k][first : first + len(seen_U)]
            holds_R = trial.held_UI[seen_U][:, [pairs.cause_N[k]]].toarray()[:, 0] > 0
            cause, effect = number_I[pairs.cause_N[k]], number_I[pairs.effect_N[k]]
            if not (holds_R & (weight_R > 0)).any():
                continue
            change_R = state.change(history.user_U[seen_U], holds_R & (weight_R > 0), cause, effect)
            total_N2[k] += (weight_R @ change_R, weight_R.sum())
        first += len(seen_U)
    return np.divide(
        total_N2[:, 0],
        total_N2[:, 1],
        out=np.zeros(len(total_N2)),
        where=total_N2[:, 1] > 0,
    )


class _State:
    """Everybody at the middle of a trial."""

    def __init__(
        self, market: Market, history: History, strength_II: Float64s, span: tuple[int, int]
    ) -> None:
        params, people = market.params, market.investors
        middle = (span[0] + span[1]) / 2
        past = history.ts_M <= span[0]
        age_days = (middle - history.ts_M[past]) / DAY_US
        left = 0.5 ** (age_days / EDGE_HALF_LIFE_DAYS)
        shape = (params.users, params.items)
        self._left_UI = sparse.coo_array(
            (left, (history.user_M[past], history.item_M[past])), shape=shape
        ).toarray()
        self._strength_II = strength_II
        self._boost_UI = self._left_UI @ (strength_II + HOLDS_ALREADY * np.eye(params.items))
        day = middle / DAY_US
        seen = visits(
            market,
            np.arange(params.users),
            np.full(params.users, day),
            self._boost_UI.astype(np.float32),
            int(day),
        )
        self._intensity_UI = organic_intensity(market, seen)
        stay_U = params.days - people.joined_day_U
        rate_U = people.activity_U * params.requests / (people.activity_U @ stay_U)
        begin_U = np.maximum(span[0] / DAY_US, people.joined_day_U)
        self._visits_U = rate_U * np.maximum(span[1] / DAY_US - begin_U, 0.0)

    def change(
        self, user_R: NDArray[np.int64], holds_R: NDArray[np.bool_], cause: int, effect: int
    ) -> Float64s:
        """Chance to acquire the effect if the cause is held, less that if it is not."""
        strength = self._strength_II[cause, effect]
        boost_R = self._boost_UI[user_R, effect]
        rest_R = boost_R - self._left_UI[user_R, cause] * strength
        mean_R = self._visits_U[user_R] * self._intensity_UI[user_R, effect]
        mean_R = mean_R * np.exp(_clip(rest_R) - _clip(boost_R))
        left_Q = np.quantile(self._left_UI[user_R[holds_R], cause], _QUANTILES)
        with_RQ = _clip(rest_R[:, None] + strength * left_Q) - _clip(rest_R)[:, None]
        bought_RQ = np.exp(-mean_R)[:, None] - np.exp(-mean_R[:, None] * np.exp(with_RQ))
        change_R: Float64s = bought_RQ.mean(axis=1)
        return change_R


def _clip(boost: Float64s) -> Float64s:
    return np.clip(boost, -BOOST_LIMIT, BOOST_LIMIT)


def _overlap(rows: Rows, cause: int, effect: int) -> Float64s:
    """Squared residual of holding the cause among those who do not hold the effect, else 0."""
    held_R = rows.held_RI[:, [cause]].toarray()[:, 0]
    free_R = rows.held_RI[:, [effect]].toarray()[:, 0] == 0
    rest_RD = rows.trait_RD - held_R[:, None] * rows.loading_ID[cause]
    free_RD = rest_RD[free_R]
    ridge_DD = free_RD.T @ free_RD + 1e-3 * np.eye(free_RD.shape[1])
    chance_R = rest_RD @ np.linalg.solve(ridge_DD, free_RD.T @ held_R[free_R])
    squared_R: Float64s = free_R * np.square(held_R - chance_R)
    return squared_R
