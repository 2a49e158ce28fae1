"""Gather lists, metrics, slices, intervals and folds into the one table of `ranking`.

Shapes: N test investors, K positions, I items.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import ibis

from tessera.contracts.arrays import Ints
from tessera.contracts.progress import Bar
from tessera.contracts.split import Split
from tessera.stages.evaluate import report
from tessera.stages.evaluate.baselines import CLOSED_FORM, fit, sensible
from tessera.stages.evaluate.holdout import Holdout, NobodyToTest, build_holdout, read_lists
from tessera.stages.evaluate.intervals import (
    CANDIDATE,
    ndcg_intervals,
    profit_table,
    ten_most_popular,
)
from tessera.stages.evaluate.params import EvaluateParams
from tessera.stages.evaluate.report import DEPTH, K, Lists, Slice, model_metrics
from tessera.stages.evaluate.returns import Returns

_LOG = logging.getLogger(__name__)
_DIGITS = 6
_COLD = {"cold": "cold_items", "born_after_cut": "born_after_cut"}
"""Slices of items whose recall is tracked, by the word for them in the metric."""
_HEADLINE = ("hr", "ndcg", "mrr", "recall", "coverage", "gini", "novelty", "roi")


def fold_splits(split: Split) -> tuple[Split, ...]:
    """One split for each further cut, each with a test period as long as that of the main cut."""
    length, checked = split.test_until - split.cut, split.cut - split.validation_from
    return tuple(
        replace(split, cut=fold, validation_from=fold - checked, test_until=fold + length, folds=())
        for fold in split.folds
        if fold != split.cut
    )


def fitted_lists(
    names: Iterable[str],
    holdout: Holdout,
    returns: Returns | None,
    params: EvaluateParams,
    bar: Bar,
) -> dict[str, Lists]:
    """Fit baselines and list their best candidates."""
    priced_I = None if returns is None else returns.priced_I
    lists = {}
    for name in names:
        bar.note(name)
        lists[name] = report.rank_all(fit(name, holdout, params), holdout, priced_I)
        bar.advance()
    return lists


def trained_lists(lists: ibis.Table, holdout: Holdout, returns: Returns | None) -> dict[str, Lists]:
    """Read the lists of the trained models, under the protocol of the baselines."""
    priced_I = None if returns is None else returns.priced_I
    tops = read_lists(lists, holdout, DEPTH)
    return {name: report.narrow(top_NK, priced_I) for name, top_NK in tops.items()}


def slice_tables(
    parts: Mapping[str, Slice],
    lists: Mapping[str, Lists],
    holdout: Holdout,
    returns: Returns | None,
) -> dict[str, Any]:
    """Measure every slice; `priced_items` is the one with lists of its own."""
    tops = {name: one.top_NK for name, one in lists.items()}
    tables = {name: report.slice_table(part, tops, holdout) for name, part in parts.items()}
    tables["born_after_cut"] = report.born_after_cut(tops, holdout)
    if tables["born_after_cut"]["models"] is not None:
        tables["born_before_cut"] = _born_before(tops, holdout)
    if returns is not None:
        priced = {n: one.priced_NK for n, one in lists.items() if one.priced_NK is not None}
        part = Slice(item_I=returns.priced_I)
        tables["priced_items"] = report.slice_table(part, priced, holdout)
    return tables


def _born_before(tops: Mapping[str, Ints], holdout: Holdout) -> dict[str, Any]:
    """Measure the same lists without items first offered after the cut, on all other items."""
    born_I = ~holdout.future_I
    kept = {name: report.narrow(top_NK, born_I).priced_NK for name, top_NK in tops.items()}
    told = {name: top_NK for name, top_NK in kept.items() if top_NK is not None}
    return report.slice_table(Slice(item_I=born_I), told, holdout)


def fold_table(
    events: ibis.Table, items: ibis.Table, split: Split, params: EvaluateParams, bar: Bar
) -> dict[str, Any] | None:
    """Measure the closed-form baselines at a further cut; None where nobody can be tested."""
    try:
        holdout = build_holdout(events, items, split, params)
    except NobodyToTest:  # a few wrong dates can lay a cut before all others
        _LOG.warning("further cut %s left out: nobody known by then acquires more", split.cut)
        return None
    lists = fitted_lists(sensible(CLOSED_FORM, split), holdout, None, params, bar)
    return {
        "cut": split.cut.isoformat(),
        "test_until": split.test_until.isoformat(),
        "users": len(holdout.user_ids),
        "models": {name: model_metrics(one, holdout, None) for name, one in lists.items()},
    }


def protocol(holdout: Holdout, split: Split, params: EvaluateParams) -> dict[str, Any]:
    """Say what was asked, so that two tables can be told apart."""
    return {
        "kind": split.protocol,
        "cut": split.cut.isoformat(),
        "test_until": split.test_until.isoformat(),
        "relevant_actions": list(params.relevant_actions),
        "candidates": int(holdout.candidate_I.sum()),
        "relevant_pairs": len(holdout.relevant_item_R),
    }


def tabulate(
    lists: Mapping[str, Lists],
    holdout: Holdout,
    returns: Returns | None,
    parts: Mapping[str, Slice],
    params: EvaluateParams,
) -> dict[str, Any]:
    """Everything about the main cut, in the order in which people read it."""
    ndcg_of = {
        name: report.per_user(one.top_NK, holdout, (K,))[f"ndcg_{K}"] for name, one in lists.items()
    }
    profit = None
    if returns is not None:
        profit = profit_table(lists, ten_most_popular(returns), returns, params)
    return {
        "users": len(holdout.user_ids),
        "models": {name: model_metrics(one, holdout, returns) for name, one in lists.items()},
        "slices": slice_tables(parts, lists, holdout, returns),
        "intervals": ndcg_intervals(ndcg_of, params),
        "profit": profit,
    }


def rounded(value: Any) -> Any:
    """Round every float in nested tables, so that the last bit of a sum is no difference."""
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


def headline(table: Mapping[str, Any]) -> dict[str, float]:
    """Flat metrics for tracking: <model>_<metric>_10, cold items, the lead of the candidate."""
    flat = {
        f"{model}_{name}_{K}": metrics[f"{name}_{K}"]
        for model, metrics in table["models"].items()
        for name in _HEADLINE
        if f"{name}_{K}" in metrics
    }
    for word, part in _COLD.items():
        found = table["slices"][part]
        if found["users"]:
            flat |= {
                f"{model}_{word}_recall_{K}": one[f"recall_{K}"]
                for model, one in found["models"].items()
            }
    lead = table["intervals"][f"ndcg_{K}_minus_best_baseline"]["models"].get(CANDIDATE)
    if lead:
        flat |= {f"lead_ndcg_{K}_{end}": lead[end] for end in ("mean", "low", "high")}
    if table["profit"]:
        flat[f"market_roi_{K}"] = table["profit"]["market"]["mean"]
    return {"users": float(table["users"]), **flat}
