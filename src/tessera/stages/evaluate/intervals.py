"""How sure the table is: bootstrap intervals of NDCG@10, paired differences, and profit.

Shapes: N test investors, K positions, I items, M models, D draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.tables import BLEND, GENERATIVE, STRANGERS, TRUNK, WALK
from tessera.shared.metrics.bootstrap import percentile_interval, resampled_means
from tessera.shared.metrics.profit import market_roi, roi, roi_draws
from tessera.stages.evaluate.params import EvaluateParams
from tessera.stages.evaluate.report import K, Lists
from tessera.stages.evaluate.returns import Returns

CANDIDATE = "hstu"
"""The model on trial; all lists that it makes are, and every other model is a baseline."""
_ENDS = ("", STRANGERS, GENERATIVE, TRUNK, WALK, BLEND)


def best_baseline(mean_of: Mapping[str, float]) -> str:
    """Name the best model that is not on trial."""
    own = {f"{CANDIDATE}{end}" for end in _ENDS}
    rivals = [name for name in mean_of if name not in own]
    return max(rivals, key=lambda name: mean_of[name])


def ndcg_intervals(
    ndcg_of: Mapping[str, Float64s], params: EvaluateParams
) -> dict[str, dict[str, object]]:
    """Redraw the test investors: NDCG@10 of each model, and its lead over the best baseline.

    The best baseline is chosen on the same investors, which favours it: a lead is understated.
    """
    names = list(ndcg_of)
    value_NM = np.column_stack([ndcg_of[name] for name in names])
    rng = np.random.default_rng((params.seed, 1))
    draw_DM = resampled_means(value_NM, params.draws, rng)
    mean_M = value_NM.mean(axis=0)
    best = best_baseline(dict(zip(names, mean_M, strict=True)))
    rival = names.index(best)
    own: dict[str, object] = {}
    lead: dict[str, object] = {}
    for column, name in enumerate(names):
        draw_D, mean = draw_DM[:, column], float(mean_M[column])
        own[name] = asdict(percentile_interval(mean, draw_D, level=params.level))
        if name != best:
            ahead_D = draw_D - draw_DM[:, rival]
            ahead = mean - float(mean_M[rival])
            lead[name] = asdict(percentile_interval(ahead, ahead_D, level=params.level))
    key = f"ndcg_{K}"
    return {key: own, f"{key}_minus_best_baseline": {"best_baseline": best, "models": lead}}


def profit_table(
    lists: Mapping[str, Lists], top_popular_K: Ints, returns: Returns, params: EvaluateParams
) -> dict[str, object]:
    """ROI@10 of each model, of the market and of the most popular assets, redrawing the assets."""

    def interval(mean: float, list_NK: Ints) -> dict[str, float]:
        rng = np.random.default_rng((params.seed, 2))
        draw_D = roi_draws(list_NK, returns.return_I, returns.days, params.draws, rng)
        return asdict(percentile_interval(mean, draw_D, level=params.level))

    def of_lists(list_NK: Ints) -> dict[str, float]:
        return interval(float(roi(list_NK, returns.return_I, returns.days, K).mean()), list_NK)

    market_K = np.flatnonzero(np.isfinite(returns.return_I))[None, :]
    models = {
        name: of_lists(one.priced_NK) for name, one in lists.items() if one.priced_NK is not None
    }
    return {
        "days": returns.days,
        "priced_items": int(returns.priced_I.sum()),
        "flagged": list(returns.flagged),
        "market": interval(market_roi(returns.return_I, returns.days), market_K),
        "most_popular": of_lists(top_popular_K[None, :]),
        f"roi_{K}": models,
    }


def ten_most_popular(returns: Returns) -> Ints:
    """Return the first ten priced candidates; items are numbered by popularity."""
    return np.flatnonzero(returns.priced_I & np.isfinite(returns.return_I))[:K]
