"""The door of uplift: learn before the cut what showing changes, measure it after the cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from ibis import Table
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tessera.contracts.arrow import schema, write_table
from tessera.contracts.progress import progress_bar
from tessera.contracts.split import load_split
from tessera.contracts.tables import CATE
from tessera.uplift.params import UpliftParams
from tessera.uplift.trials import Floats, Sources, Trials, periods, trials_in

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
    uplift_report: Path,
    params: UpliftParams,
) -> dict[str, float]:
    """Learn on requests before the cut; score and report on requests after it."""
    sources = Sources(events, exposures, users, items)
    found = periods(sources, load_split(split).cut, params.window_days)
    report: dict[str, Any] = {"status": "no exposures"}
    if found is None:
        write_table(schema(CATE).empty_table(), CATE, cate)
    else:
        with progress_bar("uplift", 3) as bar:
            past = trials_in(sources, found.learn, params.train_requests, params)
            bar.advance()
            later = trials_in(sources, found.measure, params.test_requests, params)
            bar.advance()
            report, effect_R = _study(past, later, params)
            bar.advance()
        write_table(_rows(later, effect_R), CATE, cate)
    uplift_report.write_text(json.dumps(report, indent=2) + "\n")
    return _metrics(report)


def _study(past: Trials, later: Trials, params: UpliftParams) -> tuple[dict[str, Any], Floats]:
    if not (_enough(past) and _enough(later)):
        return {"status": "too few exposures"}, np.zeros(len(later))
    # Importing causalml takes seconds: only where there is something to learn.
    from tessera.uplift.learner import effects, learn
    from tessera.uplift.report import summary

    # One thread: beside another stage two would wait for each other, and digits would change.
    with threadpool_limits(limits=1):
        effect_R = effects(learn(past, params), later)
        return {"status": "ok", **summary(later, effect_R, params)}, effect_R


def _enough(trials: Trials) -> bool:
    used_R = trials.weight_R > 0
    arms = (used_R & trials.treated_R, used_R & ~trials.treated_R)
    return all(arm_R.sum() >= LEAST and trials.bought_R[arm_R].any() for arm_R in arms)


def _rows(trials: Trials, effect_R: Floats) -> pa.Table:
    columns = {name: trials.rows[name] for name in ("request_id", "item_id", "shown")}
    return pa.table({**columns, "effect": effect_R}).sort_by(
        [("request_id", "ascending"), ("item_id", "ascending")]
    )


def _metrics(report: dict[str, Any]) -> dict[str, float]:
    if report["status"] != "ok":
        return {"trials": 0.0}
    qini, area = (report["rows"]["x_learner"][name] for name in ("qini", "auuc"))
    return {
        "trials": float(report["trials"]),
        **{f"ate_{name}": report["ate"][name] for name in ("value", "low", "high")},
        **{f"qini_{name}": qini[name] for name in ("value", "low", "high")},
        "auuc_value": area["value"],
    }
