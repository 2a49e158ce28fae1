"""Baselines that know what the model on trial knows beside its network: demand and leanings.

How many investors an item is expected to gain (`features.demand`) is known to whoever reads the
log and the catalogue.  A model that uses it is held against baselines that use it too, each mixed
as the closed forms of the model are: by what the validation period tells.
Shapes: C test investors of one chunk, U investors with a known event, N test investors, I items,
T classes, M mixes.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from tessera.contracts.arrays import Float64s, Ints
from tessera.shared.features.demand import expected_gains, leanings
from tessera.shared.metrics import ranking
from tessera.shared.metrics.choice import MOST_ASKED, as_good_as_best
from tessera.stages.evaluate.holdout import Baseline, Holdout, Scorer, sample
from tessera.stages.evaluate.params import EvaluateParams
from tessera.stages.evaluate.report import K, chunks, forbid, hits_of

MIXES = (0.0, 0.05, 0.15, 0.5, 1.5, 5.0)
"""What demand may count beside another score, nothing first."""
DECIMALS = 9
"""Scores are rounded, so that equal items stay tied whatever the number of threads."""


def expected(holdout: Holdout, params: EvaluateParams) -> Float64s:
    """Return gain_I: how many investors each item is expected to gain, the largest 1."""
    dated = holdout.dated
    if dated is None or not params.demand_days:
        return np.zeros(len(holdout.item_ids))
    gain_I = expected_gains(dated.acquired, dated.sale, dated.now_us, params.demand_days)
    return gain_I / (gain_I.max(initial=0.0) or 1.0)


def demand(holdout: Holdout, params: EvaluateParams) -> Scorer:
    """Score by the number of investors that the item is expected to gain."""
    gain_I = np.round(expected(holdout, params), DECIMALS)
    return lambda users_C: np.tile(gain_I, (len(users_C), 1))


def demand_leaning(holdout: Holdout, params: EvaluateParams) -> Scorer:
    """Score by expected gain, times how much the investor leans towards the class of the item.

    No network and no weights between items: what a trunk must beat.
    """
    gain_I, dated = expected(holdout, params), holdout.dated
    class_I = dated.sale.class_V if dated else np.zeros(len(gain_I), dtype=np.int64)
    of_class = (np.ones(len(class_I)), (np.arange(len(class_I)), class_I))
    class_IT = csr_matrix(of_class, shape=(len(class_I), int(class_I.max(initial=0)) + 1))
    had_UT = (holdout.acquired_UI @ class_IT).toarray()
    share_T = had_UT.sum(axis=0) / max(1.0, had_UT.sum())
    lean_NT = leanings(had_UT[holdout.row_N], share_T)

    def score(users_C: Ints) -> Float64s:
        return np.round(lean_NT[users_C][:, class_I] * gain_I, DECIMALS)

    return score


def mixed(main: Baseline, beside: Baseline) -> Baseline:
    """Return the baseline that adds another's scores, as much as validation wants."""

    def build(holdout: Holdout, params: EvaluateParams) -> Scorer:
        mix = chosen_mix(main, beside, holdout, params)
        return _sum(main(holdout, params), beside(holdout, params), mix)

    return build


def chosen_mix(main: Baseline, beside: Baseline, holdout: Holdout, params: EvaluateParams) -> float:
    """Return the least mix that is as good as the best on validation; 0 if nobody can be asked.

    As good is: `as_good_as_best` by nDCG@10, which is how the model chooses its own.  Both are
    fitted on what was known when validation began: the test period is not looked at.
    """
    before = holdout.dated.before if holdout.dated else None
    if before is None:
        return 0.0
    asked = sample(before, MOST_ASKED)
    value_MN = _values(main(asked, params), beside(asked, params), asked)
    return MIXES[int(np.argmax(as_good_as_best([value_MN])))]


def _values(main: Scorer, beside: Scorer, asked: Holdout) -> Float64s:
    """Return value_MN: the nDCG@10 that each mix gives each investor."""
    parts: list[list[Ints]] = [[] for _ in MIXES]
    for users_C in chunks(asked):
        main_CI, beside_CI = main(users_C), beside(users_C)
        forbid(main_CI, users_C, asked)
        for tops, mix in zip(parts, MIXES, strict=True):
            tops.append(ranking.top_items(main_CI + mix * beside_CI, K))
    relevant_N = asked.relevant_N()
    found = [hits_of(np.concatenate(tops), asked) for tops in parts]
    return np.stack([ranking.ndcg(hits_NK, relevant_N, K) for hits_NK in found])


def _sum(main: Scorer, beside: Scorer, mix: float) -> Scorer:
    return lambda users_C: main(users_C) + mix * beside(users_C)
