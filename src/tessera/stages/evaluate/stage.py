"""The entry point of `evaluate`.

`ranking` is JSON with stable keys, numbers rounded to 6 digits:

- `protocol`: kind, cut, test_until, relevant_actions, candidates, relevant_pairs;
- `users`: test investors;
- `models`: model -> {hr_k, ndcg_k, mrr_k, recall_k for k = 5, 10, 50; coverage_10, gini_10,
  novelty_10, popularity_10, top1pct_share_10; roi_10 where there are prices}.  Models of `lists`
  come first, then those of `baseline_lists`, then the closed forms;
- `slices`: slice -> {users, models: model -> {hr_10, ndcg_10, recall_10}}; `priced_items` narrows
  candidates and relevant items to those with a close near both ends of the test period;
  `born_after_cut` holds items first offered after the cut, or models null and why it cannot, and
  `born_before_cut`, where these are listed, the same lists without them;
- `suited`: the same lists without what does not suit: what unknown risk counts as, test investors
  whom nothing suits, models -> {hr_10, ndcg_10, shown: share of ten places that are filled};
- `intervals`: ndcg_10: model -> {mean, low, high}; ndcg_10_minus_best_baseline: {best_baseline,
  models: model -> {mean, low, high}}, paired by investor;
- `profit` (null without prices): days, priced_items, flagged, market, most_popular (the same ten
  for everybody), roi_10: model -> {mean, low, high}; intervals redraw the assets;
- `folds`: one table for each further cut, of the closed-form baselines alone, as the trained models
  exist for the main cut only: [{cut, test_until, users, models}].

`curves` holds hr.csv, ndcg.csv, mrr.csv, recall.csv (columns k, then one a model), slices.csv
(columns slice, users, then NDCG@10 of each model) and ranking.png.
"""

from __future__ import annotations

import json
from pathlib import Path

import ibis

from tessera.contracts.progress import progress_bar
from tessera.contracts.split import load_split
from tessera.shared.policies.suitability import read_unknown
from tessera.stages.evaluate.baselines import BASELINES, CLOSED_FORM, sensible
from tessera.stages.evaluate.holdout import build_holdout
from tessera.stages.evaluate.params import EvaluateParams
from tessera.stages.evaluate.plots import write_plots
from tessera.stages.evaluate.report import risk_as_of, slices
from tessera.stages.evaluate.returns import measure_returns
from tessera.stages.evaluate.suited import read_risks, suited_table
from tessera.stages.evaluate.tables import (
    fitted_lists,
    fold_splits,
    fold_table,
    headline,
    protocol,
    rounded,
    tabulate,
    trained_lists,
)


def run(
    *,
    events: ibis.Table,
    items: ibis.Table,
    users: ibis.Table,
    prices: ibis.Table,
    lists: ibis.Table,
    baseline_lists: ibis.Table,
    split: Path,
    suitability: Path,
    ranking: Path,
    curves: Path,
    params: EvaluateParams,
) -> dict[str, float]:
    """Measure every model on the held-out period, beside the baselines."""
    when = load_split(split)
    further = fold_splits(when)
    holdout = build_holdout(events, items, when, params)
    returns = measure_returns(prices, holdout, when)
    unknown = read_unknown(suitability)
    risks = read_risks(items, holdout, risk_as_of(users, holdout, when), unknown)
    parts = slices(holdout, risks.risk_N, unknown, params)
    names = sensible(BASELINES, when)
    steps = len(names) + len(CLOSED_FORM) * len(further)
    with progress_bar("evaluate", steps) as bar:
        lists_of = trained_lists(lists, holdout, returns)
        lists_of |= trained_lists(baseline_lists, holdout, returns)
        lists_of |= fitted_lists(names, holdout, returns, params, bar)
        tables_of_folds = [fold_table(events, items, fold, params, bar) for fold in further]
        table = {
            "protocol": protocol(holdout, when, params),
            **tabulate(lists_of, holdout, returns, parts, params),
            "suited": suited_table(lists_of, holdout, risks),
            "folds": [one for one in tables_of_folds if one is not None],
        }
    table = rounded(table)
    ranking.write_text(json.dumps(table, indent=2) + "\n")
    write_plots(table, {name: one.top_NK for name, one in lists_of.items()}, holdout, curves)
    return headline(table)
