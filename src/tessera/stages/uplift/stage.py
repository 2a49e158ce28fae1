"""Entry of uplift: learn before the cut what showing changes, for investors held back by fold.

`cate` holds exposures from before the cut alone, each scored by the model that never saw its
investor: nothing after the cut can move a byte of it.  The report measures twice: on these (out of
fold), and on requests after the cut, still by models that never saw the investor (out of time).
`cate_later` says of every request after the cut what a server could: for a re-rank by effect.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from ibis import Table
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tessera.contracts.arrays import Float64s
from tessera.contracts.arrow import schema, write_table
from tessera.contracts.progress import progress_bar
from tessera.contracts.split import load_split
from tessera.contracts.tables import CATE, CATE_LATER
from tessera.stages.uplift.folds import folds_of
from tessera.stages.uplift.params import Kind, UpliftParams
from tessera.stages.uplift.trials import Periods, Sources, Trials, asked_in, periods, trials_in

_ORDER: tuple[Kind, ...] = ("s", "t", "x", "dr")
LEAST = 100
"""Fewer treated trials, or none with a purchase, say nothing about an effect."""


def run(
    *,
    events: Table,
    exposures: Table,
    users: Table,
    items: Table,
    split: Path,
    cate: Path,
    cate_later: Path,
    uplift_report: Path,
    params: UpliftParams,
) -> dict[str, float]:
    """Learn, score and report on requests before the cut; repeat the report after it."""
    sources = Sources(events, exposures, users, items)
    found = periods(sources, load_split(split).cut, params.window_days)
    report: dict[str, Any] = {"status": "no exposures"}
    if found is None:
        write_table(schema(CATE).empty_table(), CATE, cate)
        write_table(schema(CATE_LATER).empty_table(), CATE_LATER, cate_later)
    else:
        with progress_bar("uplift", 4) as bar:
            past = trials_in(sources, found.learn, params.train_requests, params)
            bar.advance()
            later = trials_in(sources, found.measure, params.test_requests, params)
            bar.advance()
            report, effect_R = _study(past, later, params)
            bar.advance()
            told = _later(sources, found, past, effect_R, params)
            bar.advance()
        write_table(_rows(past, effect_R), CATE, cate)
        write_table(told, CATE_LATER, cate_later)
    uplift_report.write_text(json.dumps(report, indent=2) + "\n")
    return _metrics(report)


def _study(past: Trials, later: Trials, params: UpliftParams) -> tuple[dict[str, Any], Float64s]:
    """Report, and the effect of each trial before the cut; 0 where there is too little to learn."""
    past_R, later_R = (
        folds_of(trials.rows["user_id"], params.folds, params.seed) for trials in (past, later)
    )
    if not all(_enough(past.where(past_R != fold)) for fold in range(params.folds)):
        return {"status": "too few exposures"}, np.zeros(len(past))
    # Importing causalml takes seconds: only where there is something to learn.
    from tessera.stages.uplift.learner import cross_fit, predict
    from tessera.stages.uplift.report import summary

    # One thread: beside another stage two would wait for each other, and digits would change.
    with threadpool_limits(limits=1):
        # The outcomes of a T-learner make the measured effects of the report.
        kinds = sorted({params.learner, "t", *params.report_learners}, key=_ORDER.index)
        learners = {kind: cross_fit(kind, past, past_R, params) for kind in kinds}
        found = predict(learners, past, past_R)
        report = {
            "status": "ok",
            "folds": params.folds,
            "learner": f"{params.learner}_learner",
            "out_of_fold": summary(past, found, past_R, params),
            "out_of_time": None,
        }
        if _enough(later):
            report["out_of_time"] = summary(
                later, predict(learners, later, later_R), later_R, params
            )
    return report, found.effect_R[params.learner]


def _later(
    sources: Sources, found: Periods, past: Trials, effect_R: Float64s, params: UpliftParams
) -> pa.Table:
    """Return the effects after the cut; none where nobody asks for them or nothing was learnt."""
    if not params.score_later or not effect_R.any():
        return schema(CATE_LATER).empty_table()
    from tessera.stages.uplift.learner import servable_effects

    asked = asked_in(sources, found.measure)
    if not len(asked):
        return schema(CATE_LATER).empty_table()
    with threadpool_limits(limits=1):
        later_R = servable_effects(past, effect_R, asked, params)
    return _rows(asked, later_R).drop("shown")


def _enough(trials: Trials) -> bool:
    used_R = trials.weight_R > 0
    arms = (used_R & trials.treated_R, used_R & ~trials.treated_R)
    return all(arm_R.sum() >= LEAST and trials.bought_R[arm_R].any() for arm_R in arms)


def _rows(trials: Trials, effect_R: Float64s) -> pa.Table:
    columns = {name: trials.rows[name] for name in ("request_id", "item_id", "shown")}
    return pa.table({**columns, "effect": effect_R}).sort_by(
        [("request_id", "ascending"), ("item_id", "ascending")]
    )


def _metrics(report: dict[str, Any]) -> dict[str, float]:
    if report["status"] != "ok":
        return {"trials": 0.0}
    past, later, learner = (report[name] for name in ("out_of_fold", "out_of_time", "learner"))
    found = {"trials": float(past["trials"]), **_values(past, learner)}
    if later:
        told = _values(later, learner)
        found |= {f"out_of_time_{name}": value for name, value in told.items()}
    return found


def _values(part: dict[str, Any], learner: str) -> dict[str, float]:
    row = part["rows"][learner]
    told = {"ate": part["ate"], "auuc": row["auuc"], "qini": row["qini"]}
    values = {
        f"{name}_{bound}": value for name, found in told.items() for bound, value in found.items()
    }
    return {**values, "p_value": row["p_value"]}
