"""How near estimated effects of holding are to those planted in the embedded market.

Run by hand: `make bench-causal`; writes benchmarks/results/causal.json. Markets differ in what
confounds: popularity, wealth and latent taste (as it ships), popularity and wealth twice as much,
nothing but risk class and activity. The settings of the estimate were
chosen on seed 101, which is not among those measured here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from benchmarks.causal_mantel import mantel_haenszel, one_normal
from benchmarks.causal_mixture import shrink
from benchmarks.causal_truth import History, numbers, risk_differences
from benchmarks.causal_words import calibration, chains, words
from benchmarks.common import write_result
from tessera.contracts.arrays import Float64s
from tessera.contracts.split import Split
from tessera.stages.causal.confounders import stack
from tessera.stages.causal.effects import PARTS, RIDGE, effects
from tessera.stages.causal.pairs import Pairs, supported_pairs
from tessera.stages.causal.panel import Panel, build_panel, period_edges, trials
from tessera.stages.causal.params import CausalParams
from tessera.stages.causal.robust import estimate
from tessera.stages.synth.files import START
from tessera.stages.synth.params import SynthParams
from tessera.stages.synth.stage import draw_market, run
from tessera.stages.synth.truth import true_edges

WORLDS: dict[str, dict[str, float]] = {
    "as shipped": {},
    "confounding doubled": {"confounding": 2.0},
    "off": {"confounding": 0.0, "taste": 0.0},
}
SIZES: dict[str, dict[str, int]] = {
    "default": {},
    "small": {"users": 1_500, "items": 200, "requests": 60_000},
}
SEEDS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Scene:
    """One market as the estimate sees it."""

    panel: Panel
    history: History
    edges: dict[tuple[str, str], tuple[float, float]]
    """Planted strength and mean change of purchases a visit."""


def scene(params: SynthParams) -> Scene:
    """Write a market without dirt into a temporary folder and read it back."""
    begin = datetime.combine(START, datetime.min.time(), UTC)
    end = begin + timedelta(days=params.days)
    split = Split(end - timedelta(days=30), end, end + timedelta(days=1))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        run(source=source, params=params)
        events = pq.read_table(source / "events.parquet")
        users = pq.read_table(source / "users.parquet")
        edges = true_edges(source).to_pydict()
    panel = build_panel(ibis.memtable(events), ibis.memtable(users), split, CausalParams())
    buys = events.filter(np.asarray(events["action"]) == "buy")
    begin_us, end_us = (int(moment.timestamp()) * 1_000_000 for moment in (begin, end))
    history = History(
        user_M=numbers(np.asarray(buys["user_id"])),
        item_M=numbers(np.asarray(buys["item_id"])),
        ts_M=_microseconds(buys) - begin_us,
        user_U=numbers(np.unique(np.asarray(events["user_id"])[_microseconds(events) <= end_us])),
        item_I=numbers(panel.item_ids),
        edge_P=period_edges(panel.ts_A, CausalParams().periods) - begin_us,
    )
    planted = {
        (cause, effect): (strength, change)
        for cause, effect, strength, change in zip(*edges.values(), strict=True)
    }
    return Scene(panel, history, planted)


def _microseconds(table: pa.Table) -> NDArray[np.int64]:
    return np.asarray(table["event_ts"]).astype("datetime64[us]").astype(np.int64)


def naive(panel: Panel, pairs: Pairs) -> dict[str, Float64s]:
    """Scores that adjust for nothing."""
    held_UI = np.zeros((panel.n_users, len(panel.item_ids)))
    held_UI[panel.user_A, panel.item_A] = 1.0
    both_N = (held_UI.T @ held_UI)[pairs.cause_N, pairs.effect_N]
    cause_N, effect_N = (held_UI.sum(axis=0)[side] for side in (pairs.cause_N, pairs.effect_N))
    return {
        "co-occurrence": both_N,
        "lift (PMI)": np.log(np.maximum(both_N, 0.5) * panel.n_users / (cause_N * effect_N)),
        "cosine": both_N / np.sqrt(cause_N * effect_N),
        "transitions": pairs.support_N.astype(float),
        "transition share": pairs.support_N / cause_N,
    }


def agreement(score_N: Float64s, strength_N: Float64s, change_N: Float64s) -> dict[str, float]:
    """Compare scores with what is planted, over all supported pairs and among the planted."""
    planted, up, down = strength_N != 0, strength_N > 0, strength_N < 0
    top = np.argsort(-score_N, kind="stable")[: up.sum()]
    return {
        "pearson": np.corrcoef(score_N, change_N)[0, 1],
        "spearman": spearmanr(score_N, change_N)[0],
        "pearson_planted": np.corrcoef(score_N[planted], change_N[planted])[0, 1],
        "spearman_planted": spearmanr(score_N[planted], change_N[planted])[0],
        "auc_positive": _auc(score_N[up], score_N[~planted]),
        "auc_negative": _auc(-score_N[down], -score_N[~planted]),
        "precision": float(up[top].mean()),
        "negative_below_zero": float((score_N[down] < 0).mean()),
    }


def _auc(high: Float64s, low: Float64s) -> float:
    if len(high) == 0 or len(low) == 0:
        return float("nan")
    ranks = rankdata(np.r_[high, low])[: len(high)].sum()
    return float((ranks - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))


def intervals(effect_N: Float64s, error_N: Float64s, true_N: Float64s, of: Any) -> dict[str, float]:
    """Bias, spread about the truth and coverage of 95 % intervals."""
    off_N, error_N = (effect_N - true_N)[of], error_N[of]
    return {
        "bias": off_N.mean(),
        "rmse": np.sqrt(np.mean(off_N**2)),
        "stderr": np.sqrt(np.mean(error_N**2)),
        "coverage": float(np.mean(np.abs(off_N) < 1.96 * error_N)),
    }


def measure(params: SynthParams) -> dict[str, Any]:
    """Score one market by every estimate."""
    world, chosen = scene(params), CausalParams()
    panel = world.panel
    found = list(trials(panel, chosen))
    pairs = supported_pairs(found, chosen.least_support, chosen.pairs)
    names = (panel.item_ids[pairs.cause_N], panel.item_ids[pairs.effect_N])
    strength_N, change_N = np.array(
        [world.edges.get(pair, (0.0, 0.0)) for pair in zip(*names, strict=True)]
    ).T
    scores, seconds = naive(panel, pairs), {}

    def timed(
        name: str, work: Callable[[], tuple[Float64s, Float64s]]
    ) -> tuple[Float64s, Float64s]:
        start = time.process_time()
        result = work()
        seconds[name] = round(time.process_time() - start, 2)
        return result

    stratified = timed("mantel_haenszel", lambda: mantel_haenszel(found, pairs))
    rows = stack(found, chosen.taste_components, PARTS)
    asked = (pairs.cause_N, pairs.effect_N, PARTS, RIDGE)
    bare = estimate(stack(found, 0, PARTS), *asked)
    start = time.process_time()
    told = effects(rows, pairs)
    seconds["doubly_robust"] = round(time.process_time() - start, 2)
    robust = (told.raw_N, told.raw_stderr_N)
    for name, pair in {
        "Mantel-Haenszel": stratified,
        "doubly robust without taste_components": bare,
        "doubly robust": robust,
    }.items():
        scores[name] = pair[0]
        scores[f"{name}, one normal"] = one_normal(*pair)
        scores[f"{name}, shrunk"] = shrink(*pair)[0]
    scores["doubly robust, both ways"] = told.effect_N
    clear_N = np.abs(told.effect_N) > told.stderr_N
    middle_N, half_N = (told.low_N + told.high_N) / 2, (told.high_N - told.low_N) / 2
    true_N = risk_differences(draw_market(params), world.history, found, rows, pairs)
    planted = strength_N != 0
    return {
        "pairs": len(pairs.cause_N),
        "planted": int(planted.sum()),
        "planted_negative": int((strength_N < 0).sum()),
        "cpu_seconds": seconds,
        "scores": {name: agreement(s, strength_N, change_N) for name, s in scores.items()},
        "intervals": {
            name: {
                part: intervals(*pair, true_N, of)
                for part, of in {"null": ~planted, "planted": planted}.items()
            }
            for name, pair in {
                "Mantel-Haenszel": stratified,
                "doubly robust": robust,
                "doubly robust, empirical null": (middle_N, half_N / 1.96),
            }.items()
        },
        "mean_planted_difference": float(np.abs(true_N[planted]).mean()),
        "clear": {
            "pairs": int(clear_N.sum()),
            "planted": float(np.mean(planted[clear_N])) if clear_N.any() else 0.0,
            "negative": int((clear_N & (told.effect_N < 0)).sum()),
        },
        "words": words(told, strength_N, chains(world.edges, *names)),
        "calibration": calibration(told, strength_N),
    }


def mean_of(found: list[Any]) -> Any:
    """Average figures of equal shape."""
    if isinstance(found[0], dict):
        return {name: mean_of([one[name] for one in found]) for name in found[0]}
    return round(float(np.mean(found)), 4)


def main() -> None:
    """Measure every world at every size, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"seeds": list(arguments.seeds), "sizes": {}}
    for size in arguments.sizes:
        figures["sizes"][size] = {}
        for name, change in WORLDS.items():
            each = []
            for seed in arguments.seeds:
                settings = {"seed": seed, "dirty_rows": 0.0, **SIZES[size], **change}
                each.append(measure(SynthParams(**settings)))
                print(size, name, seed, each[-1]["words"]["false sign rate"], flush=True)
            figures["sizes"][size][name] = {
                "mean": mean_of(each),
                "pearson_by_seed": {
                    score: [round(one["scores"][score]["pearson"], 4) for one in each]
                    for score in each[0]["scores"]
                },
            }
    write_result("causal", figures)


if __name__ == "__main__":
    main()
