"""Ranking quality on real data, beside the baselines of the same harness and the published figures.

Usage: python -m benchmarks.quality SET [--seeds 0 1 2]   with the official files in TESSERA_DATA

A set is a protocol and the settings for it.  The stages before `hstu` run once, `hstu` and
`evaluate` once a seed.  A killed run resumes: a seed under way from its checkpoint, a finished one
is read from benchmarks/results/quality_SET.json while the settings and the stage's code stand.
The lead over the best baseline is also pooled: the mean over the seeds for each investor, and an
interval over the investors, so that what is told is the method and not the luck of one seed.

Shapes: N test investors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ibis
import numpy as np
from numpy.typing import NDArray

from benchmarks.common import RESULTS, ROOT, write_result
from benchmarks.places import pin, run_alone, turned
from tessera.contracts.split import load_split
from tessera.platform.workspace import files
from tessera.platform.workspace.code import SOURCE, import_closure
from tessera.platform.workspace.params import Sections, load_params
from tessera.platform.workspace.paths import Workspace, open_workspace
from tessera.shared.metrics.bootstrap import mean_interval
from tessera.stages.evaluate import report
from tessera.stages.evaluate.baselines import BASELINES, fit
from tessera.stages.evaluate.holdout import build_holdout, read_lists
from tessera.stages.evaluate.intervals import CANDIDATE
from tessera.stages.evaluate.params import EvaluateParams

_SHOWN = ("users", "hr_10", "ndcg_10", "mrr_10", "recall_10", "coverage_10", "roi_10")
_COLD = ("cold_recall_10", "born_after_cut_recall_10")
"""Shown where the set has such items."""
_SEEDED = ("hstu", "baselines", "evaluate")
BEFORE = ("ingest", "causal", "graph", "sid", "uplift")


@dataclass(frozen=True, slots=True)
class Set:
    """What is ranked, by which protocol, with which settings."""

    profile: str
    folder: str
    """Folder of the official files inside TESSERA_DATA."""
    cut: str | None = None
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Section -> params that differ from the profile's."""


_MOVIELENS = {"width": 50, "learning_rate": 0.003, "batch": 128, "epochs": 40, "patience": 5}
_BEAUTY = {"width": 64, "blocks": 1, "length": 50, "epochs": 100, "patience": 10,
           "learning_rate": 0.001, "full_softmax_items": 0, "negatives": 1024,
           "shared_targets": 256}  # fmt: skip
_LAST_OUT = {"protocol": "leave_last_out"}
_ML_TRUNK = {**_MOVIELENS, "refit": True, "mask_weight": 0.0, "threads": 1}
_SHARED = {"full_softmax_items": 0, "negatives": 512, "shared_targets": 512}
TRUNK_ALONE = {"sasrec": False, "two_tower": False, "session_minutes": 0.0}
UNBORN: dict[str, dict[str, Any]] = {"data": {"future_items": True}}
ON_SALE: dict[str, dict[str, Any]] = {"data": {"future_items": False}}


def _movielens(**changes: Any) -> Set:
    return Set(
        "movielens",
        "movielens-1m",
        changes={"ingest": _LAST_OUT, "hstu": {**_ML_TRUNK, **changes}},
    )


SETS = {
    "movielens": _movielens(),
    "movielens-no-time": _movielens(**TRUNK_ALONE, time_bias=False),
    "movielens-large": _movielens(**TRUNK_ALONE, blocks=8, heads=2),
    "movielens-no-weights": _movielens(**TRUNK_ALONE, item_weights_width=0),
    "movielens-shared": _movielens(**TRUNK_ALONE, **_SHARED),
    "beauty": Set(
        "amazon",
        "amazon-2014-5core",
        changes={"hstu": {**_BEAUTY, "refit": True, "mask_weight": 0.0, "threads": 1}},
    ),
    "far-trans-2020": Set("far-trans", "far-trans", "2020-07-01"),
    "far-trans-2021": Set("far-trans", "far-trans", "2021-07-01"),
    "far-trans-2020-published": Set("far-trans", "far-trans", "2020-07-01", UNBORN),
    "far-trans-2021-published": Set("far-trans", "far-trans", "2021-07-01", UNBORN),
}


def params_of(asked: Set, seed: int) -> Sections:
    """Return the params of a profile with the changes of the set and this seed."""
    changes = {**asked.changes, "hstu": {**asked.changes.get("hstu", {}), "seed": seed}}
    return turned(load_params(open_workspace(asked.profile, ROOT)), changes)


def place_of(name: str, asked: Set) -> Workspace:
    """Folders of the benchmark, with the pins of a profile that never ran."""
    workspace = Workspace(ROOT / "data" / "bench" / name, asked.profile)
    workspace.data.mkdir(parents=True, exist_ok=True)
    source = workspace.artifact("source")
    source.unlink(missing_ok=True)
    source.symlink_to(Path(os.environ["TESSERA_DATA"]) / asked.folder)
    pin(workspace, {"version": None, "kind": "none"}, asked.cut)
    return workspace


def key_of(params: Sections) -> str:
    """Return a hash of the settings and the code that a finished seed depends on."""
    told = hashlib.sha256()
    for name in (*BEFORE, "hstu", "evaluate"):
        told.update(params[name].model_dump_json().encode())
    code = {
        file
        for stage in (*BEFORE, *_SEEDED)
        for file in import_closure(f"tessera.stages.{stage}.stage")
    }
    for name in sorted(code):
        told.update((SOURCE / name).read_bytes())
    return told.hexdigest()[:16]


def _seed(workspace: Workspace, params: Sections) -> dict[str, Any]:
    begun = time.perf_counter()
    trained = run_alone(workspace, "hstu", params)
    seconds = time.perf_counter() - begun
    trained |= run_alone(workspace, "baselines", params)
    headline = run_alone(workspace, "evaluate", params)
    ranking = files.read_json(workspace.artifact("ranking"))
    models = {
        model: {name: round(value, 4) for name, value in found.items() if name in _SHOWN}
        for model, found in ranking["models"].items()
    }
    for model, shown in models.items():
        cold = {name: headline.get(f"{model}_{name}") for name in _COLD}
        shown |= {name: round(value, 4) for name, value in cold.items() if value is not None}
    kept = {
        name: round(value, 4) for name, value in trained.items() if "epoch" in name or "mix" in name
    }
    versus = ranking["intervals"]["ndcg_10_minus_best_baseline"]
    ahead = {"of": versus["best_baseline"], **versus["models"]["hstu"]}
    market = ranking["profit"]["market"]["mean"] if ranking["profit"] else None
    return {
        "models": models,
        "users": ranking["users"],
        "hstu_ahead": ahead,
        "market_roi": market,
        "stage_s": round(seconds, 1),
        **kept,
    }


def _lead(workspace: Workspace, params: Sections, rival: str) -> NDArray[np.float64]:
    """Return how far ahead of the rival HSTU is by nDCG@10, for each test investor."""
    settings = EvaluateParams(**params["evaluate"].model_dump())
    events, items, lists, rivals = (
        ibis.read_parquet(workspace.artifact(name))
        for name in ("events", "items", "lists", "baseline_lists")
    )
    holdout = build_holdout(events, items, load_split(workspace.artifact("split")), settings)
    tops = read_lists(lists.union(rivals), holdout, report.DEPTH)
    if rival in BASELINES:
        tops[rival] = report.rank_all(fit(rival, holdout, settings), holdout, None).top_NK
    own_N, rival_N = (
        report.per_user(tops[name], holdout, (report.K,))[f"ndcg_{report.K}"]
        for name in (CANDIDATE, rival)
    )
    return np.asarray(own_N - rival_N)


def _pooled(workspace: Workspace, params: Sections, done: dict[str, Any]) -> dict[str, Any] | None:
    """Pool the leads of all seeds; None unless each was measured here over one and the same."""
    kept = [_kept(workspace, seed) for seed in done]
    rivals = {one["hstu_ahead"]["of"] for one in done.values()}
    if len(done) < 2 or len(rivals) > 1 or not all(path.exists() for path in kept):
        return None
    lead_N = np.mean([np.load(path, allow_pickle=False) for path in kept], axis=0)
    settings = EvaluateParams(**params["evaluate"].model_dump())
    rng = np.random.default_rng((settings.seed, 1))
    found = mean_interval(lead_N, rng, draws=settings.draws, level=settings.level)
    told = {name: round(value, 6) for name, value in asdict(found).items()}
    return {"of": rivals.pop(), **told, "seeds": len(done)}


def _kept(workspace: Workspace, seed: str) -> Path:
    return workspace.data / f"lead_{seed}.npy"


def main() -> None:
    """Measure a set and write benchmarks/results/quality_SET.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    given = parser.parse_args()
    if not os.environ.get("TESSERA_DATA"):
        parser.error("name the folder with the official files in TESSERA_DATA")
    asked = SETS[given.set]
    path = RESULTS / f"quality_{given.set}.json"
    known = json.loads(path.read_text())["figures"]["seeds"] if path.exists() else {}
    # Seeds of other settings or other code are not averaged with these.
    done = {s: one for s, one in known.items() if one["key"] == key_of(params_of(asked, int(s)))}
    workspace = place_of(given.set, asked)
    first = params_of(asked, given.seeds[0])
    for name in BEFORE:
        run_alone(workspace, name, first)
    for seed in given.seeds:
        if str(seed) in done:
            continue
        params = params_of(asked, seed)
        measured = _seed(workspace, params)
        np.save(_kept(workspace, str(seed)), _lead(workspace, params, measured["hstu_ahead"]["of"]))
        done[str(seed)] = {"key": key_of(params), **measured}
        settings = params["hstu"].model_dump(mode="json", exclude={"seed"})
        figures = {"seeds": done, "ahead": _pooled(workspace, params, done), "settings": settings}
        write_result(f"quality_{given.set}", figures)


if __name__ == "__main__":
    main()
