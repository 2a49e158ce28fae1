"""What a model must beat: baselines, fitted on the known events of a holdout.

A baseline is a function of the holdout that returns a scorer; a scorer gives test investors
(their numbers) a score for every item.  Shapes: C test investors of one chunk, U investors with
known events, I items, H items of the dense models (the most popular ones).

ALS: Hu, Koren and Volinsky 2008; EASE: Steck 2019.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.split import Split
from tessera.shared.features.conditional import conditional_weights
from tessera.stages.evaluate.holdout import Baseline, Holdout, Scorer
from tessera.stages.evaluate.mixed import DECIMALS, demand, demand_leaning, mixed
from tessera.stages.evaluate.params import EvaluateParams


def random(holdout: Holdout, params: EvaluateParams) -> Scorer:
    """Score at random: what no model may fall below."""
    items = len(holdout.item_ids)

    def score(users_C: Ints) -> Float64s:
        streams = (np.random.default_rng((params.seed, int(user))) for user in users_C)
        return np.stack([stream.random(items) for stream in streams])

    return score


def popularity(holdout: Holdout, params: EvaluateParams) -> Scorer:  # noqa: ARG001
    """Score by the number of investors who ever acquired the item."""
    return _same_for_all(holdout.holders_I)


def recent_popularity(holdout: Holdout, params: EvaluateParams) -> Scorer:  # noqa: ARG001
    """Score by the number of investors who acquired the item shortly before the cut."""
    return _same_for_all(holdout.recent_I)


def _popular_share(holdout: Holdout, params: EvaluateParams) -> Scorer:  # noqa: ARG001
    """Score by popularity, the most popular item 1."""
    return _same_for_all(holdout.holders_I / max(1, holdout.holders_I.max(initial=1)))


def item_knn(holdout: Holdout, params: EvaluateParams) -> Scorer:
    """Sum the shrunk cosine similarities to the items acquired (Sarwar 2001)."""
    history_UI = holdout.acquired_UI
    both = (history_UI.T @ history_UI).tocoo()
    norm_I = np.sqrt(both.diagonal())
    other = both.row != both.col
    row, col, together = both.row[other], both.col[other], both.data[other]
    cosine = together / (norm_I[row] * norm_I[col] + params.knn_shrink)
    near = _nearest(col, cosine, params.knn_neighbours)
    weight_II = csr_matrix((cosine[near], (row[near], col[near])), shape=both.shape)
    history_NI = history_UI[holdout.row_N]

    def score(users_C: Ints) -> Float64s:
        product = history_NI[users_C] @ weight_II
        product.data = np.round(product.data, DECIMALS)
        return np.asarray(product.toarray())

    return score


def ease(holdout: Holdout, params: EvaluateParams) -> Scorer:
    """Predict each item from the others by ridge regression, in closed form (Steck 2019).

    Items beyond the head get 0, the score of the unrelated.
    """
    history_UH = holdout.acquired_UI[:, : params.ease_items]
    weight_HH = conditional_weights(history_UH, params.ease_l2)
    history_NH, items = history_UH[holdout.row_N], len(holdout.item_ids)

    def score(users_C: Ints) -> Float64s:
        head_CH = np.round(history_NH[users_C] @ weight_HH, DECIMALS)
        return np.pad(head_CH, ((0, 0), (0, items - head_CH.shape[1])))

    return score


def als(holdout: Holdout, params: EvaluateParams) -> Scorer:
    """Factorise the acquisitions by weighted least squares (Hu, Koren & Volinsky 2008)."""
    model = AlternatingLeastSquares(
        factors=params.als_factors,
        regularization=params.als_l2,
        alpha=params.als_weight,
        iterations=_ALS_SWEEPS,
        use_gpu=False,
        num_threads=1,
        random_state=params.seed % 2**31,
    )
    model.fit(holdout.acquired_UI.astype(np.float32), show_progress=False)
    users_NF = model.user_factors[holdout.row_N]
    items_FI = model.item_factors.T

    def score(users_C: Ints) -> Float64s:
        return np.asarray(users_NF[users_C] @ items_FI, dtype=np.float64)

    return score


CLOSED_FORM: dict[str, Baseline] = {
    "popularity": popularity,
    "recent_popularity": recent_popularity,
    "item_knn": item_knn,
    "ease": ease,
    "popularity_demand": mixed(_popular_share, demand),
    "demand_leaning": demand_leaning,
    "ease_demand": mixed(ease, demand_leaning),
}
"""Cheap enough for every fold."""
_ALS_SWEEPS = 15
"""Over users and items; the default of the library implicit."""
_DATED = {"recent_popularity", "popularity_demand", "demand_leaning", "ease_demand"}
"""They look back from one cut for all."""
BASELINES: dict[str, Baseline] = {"random": random, **CLOSED_FORM, "als": als}


def sensible(among: Mapping[str, Baseline], split: Split) -> list[str]:
    """Name the baselines that make sense: an order has no recent days, many cuts no demand."""
    without = _DATED if split.ordinal else set()
    if split.protocol == "leave_last_out":
        without = _DATED - {"recent_popularity"} | without
    return [name for name in among if name not in without]


def fit(name: str, holdout: Holdout, params: EvaluateParams) -> Scorer:
    """Fit one baseline; BLAS on one thread, as `implicit` asks for."""
    with threadpool_limits(limits=1, user_api="blas"):
        return BASELINES[name](holdout, params)


def _same_for_all(score_I: Ints | Float64s) -> Scorer:
    row_I = score_I.astype(np.float64)
    return lambda users_C: np.tile(row_I, (len(users_C), 1))


def _nearest(group: Ints, score: Float64s, most: int) -> Bools:
    """Keep the highest scores of each group, `most` at most; ties in the order given."""
    order = np.lexsort((-score, group))
    ordered = group[order]
    rank = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    near = np.zeros(len(group), dtype=np.bool_)
    near[order[rank < most]] = True
    return near
