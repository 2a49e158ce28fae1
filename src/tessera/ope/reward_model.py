"""q(x, a, k): chance that an item is clicked or bought at a position, learnt before the cut only.

Everything that is judged comes after what the model saw, so its guesses are fixed before the data:
unbiasedness and the anytime-valid bound need no more.  Rates are taken on the older half of what
it learns from, the trees on the younger half, so that no row explains itself.

Shapes: R exposures, N requests, L positions, C candidates, U users, I items, K categories.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ibis import Table
from sklearn.ensemble import HistGradientBoostingClassifier

from tessera.contracts.progress import progress_bar
from tessera.ope.exposures import NOBODY, Floats, Ints, Requests, indices, numbers
from tessera.ope.params import OpeParams
from tessera.ope.people import Items, Users

PRIOR = 20.0
"""Exposures at the mean rate that every rate starts with."""
LEAST = 200
"""With fewer exposures before the cut there is no model, and every guess is 0."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Exposures in time order."""

    user_R: Ints
    item_R: Ints
    position_R: Ints
    event_us_R: Ints
    reward_R: Floats

    def part(self, rows: npt.NDArray[Any] | slice) -> Shown:
        """Keep some rows."""
        return Shown(
            self.user_R[rows],
            self.item_R[rows],
            self.position_R[rows],
            self.event_us_R[rows],
            self.reward_R[rows],
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """Shrunk reward rates; the last slot of each axis stands for the unknown."""

    item_I: Floats
    seen_I: Floats
    user_U: Floats
    user_category_UK: Floats


def read_shown(attributed: Table, users: Users, items: Items) -> Shown:
    """Read attributed exposures, one row a position."""
    rows = attributed.order_by("event_ts", "request_id", "position", "item_id").to_pyarrow()
    return Shown(
        user_R=indices(rows["user_id"], users.user_ids),
        item_R=indices(rows["item_id"], items.item_ids),
        position_R=numbers(rows["position"]),
        event_us_R=numbers(rows["event_ts"]),
        reward_R=rows["rewarded"].to_numpy().astype(np.float64),
    )


def guess(past: Shown, log: Requests, users: Users, items: Items, params: OpeParams) -> Floats:
    """Learn from the past and guess every candidate of the log at every position.

    Returns
    -------
    array NLC
        In [0, 1]; 0 everywhere if the past is too short to learn from.
    """
    guess_NLC = np.zeros(log.served_NLC.shape)
    half = len(past.reward_R) // 2
    young = past.part(slice(half, None))
    if len(young.reward_R) < LEAST or len(np.unique(young.reward_R)) < 2:
        return guess_NLC
    rng = np.random.default_rng(params.seed)
    size = min(params.reward_rows, len(young.reward_R))
    young = young.part(np.sort(rng.choice(len(young.reward_R), size, replace=False)))
    model = _model(params)
    model.fit(_features(young, _rates(past.part(slice(half)), users, items), users, items),
              young.reward_R)  # fmt: skip
    rates = _rates(past, users, items)
    user_N = indices(log.user_ids, users.user_ids)[log.user_N]
    requests, positions, candidates = log.served_NLC.shape
    with progress_bar("reward model", positions) as bar:
        for position in range(positions):
            asked = Shown(
                user_R=np.repeat(user_N, candidates),
                item_R=log.candidate_NC.ravel(),
                position_R=np.full(requests * candidates, position + 1),
                event_us_R=np.repeat(log.event_us_N, candidates),
                reward_R=np.zeros(0),
            )
            chance_R = model.predict_proba(_features(asked, rates, users, items))[:, 1]
            guess_NLC[:, position] = chance_R.reshape(requests, candidates)
            bar.advance()
    return guess_NLC


def _model(params: OpeParams) -> Any:
    return HistGradientBoostingClassifier(
        max_iter=params.reward_trees,
        max_leaf_nodes=15,
        min_samples_leaf=50,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=params.seed,
    )


def _rates(past: Shown, users: Users, items: Items) -> Rates:
    mean = float(past.reward_R.mean()) if len(past.reward_R) else 0.0
    size_U, size_I = len(users.user_ids) + 1, len(items.item_ids) + 1
    category_I = _with_unknown(items.category_I)
    size_K = int(category_I.max()) + 1
    user_R, item_R = past.user_R % size_U, past.item_R % size_I
    pair_R = user_R * size_K + category_I[item_R]
    seen_I, item_I = _rate(item_R, past.reward_R, size_I, mean)
    _, user_U = _rate(user_R, past.reward_R, size_U, mean)
    _, pair = _rate(pair_R, past.reward_R, size_U * size_K, mean)
    return Rates(item_I, seen_I, user_U, pair.reshape(size_U, size_K))


def _rate(group_R: Ints, reward_R: Floats, size: int, mean: float) -> tuple[Floats, Floats]:
    seen = np.bincount(group_R, minlength=size).astype(np.float64)
    earned = np.bincount(group_R, weights=reward_R, minlength=size)
    return seen, np.asarray((earned + PRIOR * mean) / (seen + PRIOR))


def _with_unknown(value_I: Ints) -> Ints:
    """Append the slot that index NOBODY reads."""
    return np.append(value_I, value_I.max(initial=0) + 1)


def _features(rows: Shown, rates: Rates, users: Users, items: Items) -> npt.NDArray[np.float32]:
    """Columns: position, item rate, times seen, user rate, user-category rate, risks, capacity."""
    risk_R, capacity_R = users.as_of(rows.user_R, rows.event_us_R)
    category_I = _with_unknown(items.category_I)
    item_risk_I = np.append(items.risk_I, NOBODY)
    return np.column_stack(
        [
            rows.position_R,
            rates.item_I[rows.item_R],
            np.log1p(rates.seen_I)[rows.item_R],
            rates.user_U[rows.user_R],
            rates.user_category_UK[rows.user_R, category_I[rows.item_R]],
            category_I[rows.item_R],
            item_risk_I[rows.item_R],
            risk_R,
            capacity_R,
        ]
    ).astype(np.float32)
