"""Turn lists into the tables of `ranking`: every model on the same investors and items.

Shapes: N test investors, K positions, I items, M models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ibis
import numpy as np

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.split import Split
from tessera.shared.metrics import diversity, popularity, profit, ranking
from tessera.shared.policies.suitability import UNKNOWN, Unknown
from tessera.stages.evaluate.holdout import Holdout, Scorer
from tessera.stages.evaluate.params import EvaluateParams
from tessera.stages.evaluate.returns import Returns

Metrics = dict[str, float]

KS = (5, 10, 50)
"""Depths that are reported; lists are as long as the last."""
DEPTH = KS[-1]
K = 10
"""Depth of slices, diversity and profit."""
_CHUNK = 4_000_000
_NEW_USER_EVENTS = 5
"""An investor with at most so many known events is new; ours."""


@dataclass(frozen=True, slots=True)
class Lists:
    """What one model would show each test investor."""

    top_NK: Ints
    """From all candidates."""
    priced_NK: Ints | None
    """From priced candidates only; None without prices."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Part of the test: some investors, or only some items as relevant."""

    user_N: Bools | None = None
    item_I: Bools | None = None


def rank_all(scorer: Scorer, holdout: Holdout, priced_I: Bools | None) -> Lists:
    """List the best candidates of every test investor, a chunk of investors at a time."""
    tops: list[Ints] = []
    priced: list[Ints] = []
    for users_C in chunks(holdout):
        score_CI = scorer(users_C)
        forbid(score_CI, users_C, holdout)
        tops.append(ranking.top_items(score_CI, DEPTH))
        if priced_I is not None:
            priced.append(ranking.top_items(np.where(priced_I, score_CI, -np.inf), K))
    return Lists(np.concatenate(tops), np.concatenate(priced) if priced else None)


def chunks(holdout: Holdout) -> Iterator[Ints]:
    """Yield the numbers of the test investors, so many that their scores fit into memory."""
    users, step = len(holdout.user_ids), max(1, _CHUNK // len(holdout.item_ids))
    for start in range(0, users, step):
        yield np.arange(start, min(start + step, users))


def forbid(score_CI: Float64s, users_C: Ints, holdout: Holdout) -> None:
    """Let no score list what is no candidate, or what an investor holds or held."""
    score_CI[:, ~holdout.candidate_I] = -np.inf
    held_CI = holdout.held_NI[users_C].tocoo()
    score_CI[held_CI.row, held_CI.col] = -np.inf


def narrow(top_NK: Ints, priced_I: Bools | None) -> Lists:
    """Take the priced items out of finished lists, first ones first."""
    if priced_I is None:
        return Lists(top_NK, None)
    kept_NK = (top_NK >= 0) & priced_I[top_NK]
    order_NK = np.argsort(~kept_NK, axis=1, kind="stable")
    moved_NK = np.where(kept_NK, top_NK, -1)
    return Lists(top_NK, np.take_along_axis(moved_NK, order_NK, axis=1)[:, :K])


def hits_of(top_NK: Ints, holdout: Holdout, relevant_I: Bools | None = None) -> Bools:
    """Mark the relevant positions; only items of `relevant_I` count, if given."""
    user_R, item_R = holdout.relevant_user_R, holdout.relevant_item_R
    if relevant_I is not None:
        kept_R = relevant_I[item_R]
        user_R, item_R = user_R[kept_R], item_R[kept_R]
    return ranking.hits(top_NK, user_R, item_R)


def per_user(top_NK: Ints, holdout: Holdout, ks: tuple[int, ...]) -> dict[str, Float64s]:
    """Ranking metrics of each test investor, named metric_k."""
    hits_NK, relevant_N = hits_of(top_NK, holdout), holdout.relevant_N()
    values = {}
    for k in ks:
        values[f"hr_{k}"] = ranking.hit_rate(hits_NK, k)
        values[f"ndcg_{k}"] = ranking.ndcg(hits_NK, relevant_N, k)
        values[f"mrr_{k}"] = ranking.reciprocal_rank(hits_NK, k)
        values[f"recall_{k}"] = ranking.recall(hits_NK, relevant_N, k)
    return values


def model_metrics(lists: Lists, holdout: Holdout, returns: Returns | None) -> Metrics:
    """Average one model over the test investors."""
    metrics = {name: float(v.mean()) for name, v in per_user(lists.top_NK, holdout, KS).items()}
    top_NK, candidates = lists.top_NK[:, :K], holdout.candidate_I
    shown_I = diversity.times_shown(top_NK, len(candidates))[candidates]
    users = holdout.acquired_UI.shape[0]
    metrics[f"coverage_{K}"] = diversity.coverage(shown_I)
    metrics[f"gini_{K}"] = diversity.gini(shown_I)
    metrics[f"novelty_{K}"] = diversity.novelty(top_NK, holdout.holders_I, users)
    metrics[f"popularity_{K}"] = popularity.average_popularity(top_NK, holdout.holders_I, users)
    metrics[f"top1pct_share_{K}"] = popularity.top_share(top_NK, holdout.holders_I)
    if returns is not None and lists.priced_NK is not None:
        roi_N = profit.roi(lists.priced_NK, returns.return_I, returns.days, K)
        metrics[f"roi_{K}"] = float(roi_N.mean())
    return metrics


def risk_as_of(users: ibis.Table, holdout: Holdout, split: Split) -> Ints:
    """Risk class of each test investor as of the cut, `UNKNOWN` without one."""
    seen = users if split.ordinal else users.filter(users.valid_from <= split.cut)
    latest = ibis.row_number().over(
        ibis.window(group_by=seen.user_id, order_by=seen.valid_from.desc())
    )
    last = seen.mutate(_back=latest).filter(ibis._._back == 0)
    # Both columns come from one answer: two would not agree on the order of the rows.
    rows = last.select("user_id", "risk_class").order_by("user_id").to_pyarrow().to_pydict()
    known = dict(zip(rows["user_id"], rows["risk_class"], strict=True))
    risk_N = [known.get(user) for user in holdout.user_ids.to_pylist()]
    return np.array([risk or UNKNOWN for risk in risk_N])


def slices(
    holdout: Holdout, risk_N: Ints, unknown: Unknown, params: EvaluateParams
) -> dict[str, Slice]:
    """Parts of the test that an average hides; risk classes only where somebody has one."""
    tail_I = popularity.long_tail(holdout.holders_I, head_share=params.head_share)
    parts = {
        "new_users": Slice(user_N=holdout.known_events_N <= _NEW_USER_EVENTS),
        "cold_items": Slice(item_I=holdout.cold_I),
        "long_tail": Slice(item_I=tail_I),
    }
    if risk_N.any():
        counted_N = np.where(risk_N > UNKNOWN, risk_N, unknown.user)
        parts |= {f"risk_{level}": Slice(user_N=counted_N == level) for level in range(1, 5)}
    return parts


def slice_table(part: Slice, tops: Mapping[str, Ints], holdout: Holdout) -> dict[str, Any]:
    """Measure every model on one slice; its investors are those with something relevant in it."""
    relevant_N = holdout.relevant_N(part.item_I)
    user_N = relevant_N > 0
    if part.user_N is not None:
        user_N = user_N & part.user_N
    table: dict[str, Metrics] = {}
    for name, top_NK in tops.items():
        hits_NK = hits_of(top_NK[:, :K], holdout, part.item_I)
        values = {
            f"hr_{K}": ranking.hit_rate(hits_NK, K),
            f"ndcg_{K}": ranking.ndcg(hits_NK, relevant_N, K),
            f"recall_{K}": ranking.recall(hits_NK, relevant_N, K),
        }
        table[name] = {key: _mean(value_N[user_N]) for key, value_N in values.items()}
    return {"users": int(user_N.sum()), "models": table}


def born_after_cut(tops: Mapping[str, Ints], holdout: Holdout) -> dict[str, Any]:
    """Measure every model on items first offered after the cut; null and why if that cannot be."""
    listed_I = holdout.future_I & holdout.candidate_I
    why = None
    if not holdout.future_I.any():
        why = "no item is first offered after the cut"
    elif not listed_I.any():
        why = "nobody can buy them at the cut, and data.future_items is false"
    elif not holdout.relevant_N(listed_I).any():
        why = "no test investor acquires any"
    if why:
        return {"users": 0, "models": None, "why": why}
    return slice_table(Slice(item_I=listed_I), tops, holdout)


def _mean(values: Float64s) -> float:
    """Mean, 0 of nothing: a number that JSON can hold."""
    return float(values.mean()) if len(values) else 0.0
