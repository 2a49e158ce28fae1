"""The door of `evaluate`.

`ranking` is JSON with stable keys, numbers rounded to 6 digits:

- `users`: test investors; `protocol`: cut, test_until, kind, relevant_actions, candidates,
  relevant_pairs;
- `models`: model -> {hr_k, ndcg_k, mrr_k, recall_k for k = 5, 10, 50; coverage_10, gini_10,
  novelty_10, popularity_10, top1pct_share_10; roi_10 where there are prices}.  Models of `lists`
  come first, then the baselines;
- `slices`: slice -> {users, models: model -> {hr_10, ndcg_10, recall_10}}; `priced_items` narrows
  candidates and relevant items to those with a close near both ends of the test period;
- `intervals`: ndcg_10: model -> {mean, low, high}; ndcg_10_minus_best_baseline: {best_baseline,
  models: model -> {mean, low, high}}, paired by investor;
- `profit` (null without prices): days, priced_items, flagged, market, most_popular (the same ten
  for everybody), roi_10: model -> {mean, low, high}; intervals redraw the assets;
- `folds`: one table for each further cut, of the closed-form baselines alone, as the trained models
  exist for the main cut only: [{cut, test_until, users, models}].
"""

from __future__ import annotations

import json
from pathlib import Path

import ibis

from tessera.contracts.progress import progress_bar
from tessera.contracts.split import load_split
from tessera.evaluate.baselines import BASELINES, CLOSED_FORM
from tessera.evaluate.folds import fold_splits, fold_table
from tessera.evaluate.holdout import build_holdout
from tessera.evaluate.params import EvaluateParams
from tessera.evaluate.report import risk_as_of
from tessera.evaluate.returns import measure_returns
from tessera.evaluate.tables import headline, list_models, rounded, tabulate, write_pictures


def run(
    *,
    events: ibis.Table,
    items: ibis.Table,
    users: ibis.Table,
    prices: ibis.Table,
    lists: ibis.Table,
    split: Path,
    ranking: Path,
    curves: Path,
    params: EvaluateParams,
) -> dict[str, float]:
    """Measure every model on the held-out period, beside the baselines."""
    when = load_split(split)
    holdout = build_holdout(events, items, when, params)
    returns = measure_returns(prices, holdout, when)
    further = fold_splits(when)
    with progress_bar("baselines", len(BASELINES) + len(further)) as bar:
        lists_of = list_models(lists, holdout, returns, params, bar)
        table = tabulate(lists_of, holdout, returns, risk_as_of(users, holdout, when), params)
        table["folds"] = [fold_table(events, items, fold, params, bar) for fold in further]
    ...
