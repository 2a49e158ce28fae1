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
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.progress import progress_bar
from tessera.offpolicy.requests import Requests
from tessera.stages.ope.exposures import classes, indices, numbers
from tessera.stages.ope.lookup import Lookup
from tessera.stages.ope.params import OpeParams

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
    risk_R: Ints
    capacity_R: Ints
    reward_R: Float64s

    def part(self, rows: npt.NDArray[Any] | slice) -> Shown:
        """Keep some rows."""
        return Shown(
            self.user_R[rows],
            self.item_R[rows],
            self.position_R[rows],
            self.risk_R[rows],
            self.capacity_R[rows],
            self.reward_R[rows],
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """Shrunk reward rates; the last slot of each axis stands for the unknown."""

    item_I: Float64s
    seen_I: Float64s
    user_U: Float64s
    user_category_UK: Float64s


def read_shown(attributed: Table, lookup: Lookup) -> Shown:
    """Read attributed exposures, one row a position."""
    ordered = attributed.order_by("event_ts", "request_id", "position", "item_id")
    names = ("user_id", "item_id", "position", "risk_class", "capacity_class", "reward")
    rows = ordered.select(*names).to_pyarrow()  # the candidates would be most of it
    return Shown(
        user_R=indices(rows["user_id"], lookup.user_ids),
        item_R=indices(rows["item_id"], lookup.item_ids),
        position_R=numbers(rows["position"]),
        risk_R=classes(rows["risk_class"]),
        capacity_R=classes(rows["capacity_class"]),
        reward_R=rows["reward"].to_numpy().astype(np.float64),
    )


def guess(past: Shown, log: Requests, lookup: Lookup, params: OpeParams) -> Float64s:
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
    first = _rates(past.part(slice(half)), lookup)
    with threadpool_limits(limits=1, user_api="openmp"):
        model = _model(params).fit(_features(young, first, lookup), young.reward_R)
        return _guess_all(model, past, log, lookup)


def _guess_all(model: Any, past: Shown, log: Requests, lookup: Lookup) -> Float64s:
    guess_NLC = np.zeros(log.served_NLC.shape)
    rates = _rates(past, lookup)
    user_N = indices(log.user_ids, lookup.user_ids)[log.user_N]
    requests, positions, candidates = log.served_NLC.shape
    with progress_bar("reward model", positions) as bar:
        for position in range(positions):
            asked = Shown(
                user_R=np.repeat(user_N, candidates),
                item_R=log.candidate_NC.ravel(),
                position_R=np.full(requests * candidates, position + 1),
                risk_R=np.repeat(log.risk_N, candidates),
                capacity_R=np.repeat(log.capacity_N, candidates),
                reward_R=np.zeros(0),
            )
            chance_R = model.predict_proba(_features(asked, rates, lookup))[:, 1]
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


def _rates(past: Shown, lookup: Lookup) -> Rates:
    mean = float(past.reward_R.mean()) if len(past.reward_R) else 0.0
    size_U, size_I = len(lookup.user_ids) + 1, len(lookup.item_ids) + 1
    size_K = int(lookup.category_I.max()) + 1
    user_R, item_R = past.user_R % size_U, past.item_R % size_I
    pair_R = user_R * size_K + lookup.category_I[item_R]
    seen_I, item_I = _rate(item_R, past.reward_R, size_I, mean)
    _, user_U = _rate(user_R, past.reward_R, size_U, mean)
    _, pair = _rate(pair_R, past.reward_R, size_U * size_K, mean)
    return Rates(item_I, seen_I, user_U, pair.reshape(size_U, size_K))


def _rate(group_R: Ints, reward_R: Float64s, size: int, mean: float) -> tuple[Float64s, Float64s]:
    seen = np.bincount(group_R, minlength=size).astype(np.float64)
    earned = np.bincount(group_R, weights=reward_R, minlength=size)
    return seen, np.asarray((earned + PRIOR * mean) / (seen + PRIOR))


def _features(rows: Shown, rates: Rates, lookup: Lookup) -> npt.NDArray[np.float32]:
    """Columns: position, item rate, times seen, user rate, user-category rate, risks, capacity."""
    category_R = lookup.category_I[rows.item_R]
    return np.column_stack(
        [
            rows.position_R,
            rates.item_I[rows.item_R],
            np.log1p(rates.seen_I)[rows.item_R],
            rates.user_U[rows.user_R],
            rates.user_category_UK[rows.user_R, category_R],
            category_R,
            lookup.risk_I[rows.item_R],
            rows.risk_R,
            rows.capacity_R,
        ]
    ).astype(np.float32)
