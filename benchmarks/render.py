"""Lay the results beside the figures they must meet, in docs/benchmarks.md."""

from __future__ import annotations

import json
import statistics
from typing import Any

from benchmarks.common import RESULTS, ROOT

_HEAD = """# Benchmarks

Rendered from `benchmarks/results/` by `make bench`, never edited by hand.
Seconds are wall-clock on the machine named.

| figure | asked | measured | machine | commit | day |
|---|---|---|---|---|---|
"""
_BIG = "10000000 events"
_OPE = "ope"


def _house(name: str, unit: str = " s") -> Any:
    return lambda found: f"{found[name]}{unit}"


def _hstu_speed(f: dict[str, Any]) -> str:
    ways = ("by_length_full_softmax", "by_length_shared_negatives")
    full, shared = (f"{f[f'{way}_ratio']} times" for way in ways)
    gathered = [f[f"{way}_ratio_to_gathered"] for way in ways]
    return (
        f"full softmax {full}, shared negatives {shared} "
        f"({gathered[0]} and {gathered[1]} times one that normalises each gathered negative, as "
        f"the authors' code does); layers alone at equal padding {f['ratio_layers_alone']} times; "
        f"{f['source']}; products at {f['product_gflops_onednn']} GFLOP/s"
    )


def _scale(found: dict[str, Any]) -> str:
    """Tell each stage's seconds and peak memory at every size."""
    sizes = ", ".join(f"{size} is {one['events']:,} events" for size, one in found.items())
    names = [name for name in next(iter(found.values())) if name != "events"]
    lines = [
        f"{name} "
        + ", ".join(f"{one[name]['seconds']} s {one[name]['peak_mb']} MB" for one in found.values())
        for name in names
    ]
    return f"{sizes}: " + "; ".join(lines)


def _pareto(found: dict[str, Any]) -> str:
    """Tell HSTU at every weight on profit, and the best baseline of either axis."""
    told = []
    for protocol, one in found["protocols"].items():
        points = one["points"]
        line = "; ".join(
            f"{model} {point['ndcg_10']:.4f} / {point['roi_10']:.4f}"
            for model, point in points.items()
        )
        told.append(f"{protocol} ({one['users']} users, market {one['market_roi']:.4f}): {line}")
    return ". ".join(told) + ". ![curve](pictures/pareto.png)"


def _acceptance(found: dict[str, Any]) -> str:
    """Tell the means over the seeds."""
    mean = ", ".join(f"{name} {value:.3f}" for name, value in found["mean"].items())
    return f"{len(found['seeds'])} seeds: {mean}"


def _quality(*names: str) -> Any:
    """Tell these metrics of every model, the best first; means over the seeds."""

    def told(found: dict[str, Any]) -> str:
        seeds = list(found["seeds"].values())
        models = {
            model: [
                statistics.mean(seed["models"][model][name] for seed in seeds) for name in names
            ]
            for model in seeds[0]["models"]
            if all(name in seeds[0]["models"][model] for name in names)
        }
        ranked = sorted(models, key=lambda model: -models[model][-1])
        lines = [f"{model} {' / '.join(f'{x:.4f}' for x in models[model])}" for model in ranked]
        word = "seed" if len(seeds) == 1 else "seeds"
        told = f"{len(seeds)} {word}, {seeds[0]['users']} users: " + "; ".join(lines)
        return told + _ahead(seeds)

    return told


def _ahead(seeds: list[dict[str, Any]]) -> str:
    """Tell by how much HSTU is ahead of the best baseline, with the interval of each seed."""
    found = [seed["hstu_ahead"] for seed in seeds if "hstu_ahead" in seed]
    if not found:
        return ""
    each = ", ".join(
        f"{one['mean']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}] over {one['of']}"
        for one in found
    )
    market = seeds[0].get("market_roi")
    return f". HSTU is ahead by {each}" + ("" if market is None else f"; market ROI {market:.4f}")


def _coverage(found: dict[str, Any]) -> str:
    """Tell how often the bounds of DR and SNIPW hold, below and above."""

    def held(table: dict[str, Any], interval: str) -> str:
        return " / ".join(f"{side['coverage']:.3f}" for side in table[interval].values())

    told = []
    for regime, one in found["coverage"].items():
        tables = {name: one["estimators"][name] for name in ("dr", "snips")}
        lines = [
            f"{name} {held(table, 'clustered')} (BCa {held(table, 'bca')})"
            for name, table in tables.items()
        ]
        told.append(f"{regime} (ESS {one['ess']:.0f}) " + ", ".join(lines))
    return f"{found['replications']} replications, lower / upper: " + "; ".join(told)


def _refused(found: dict[str, Any]) -> str:
    return "; ".join(
        f"{regime} " + ", ".join(f"{check} {share:.1%}" for check, share in one.items())
        for regime, one in ((name, one["refused_by"]) for name, one in found["coverage"].items())
    )


def _looks(found: dict[str, Any]) -> str:
    one, stream = found["looks"], found["looks"]["stream"]
    return (
        f"sequence and Holm {one['holm_sequence']:.1%} ({one['looks']} looks, {one['candidates']} "
        f"candidates), sequence on one {one['sequence_one']:.1%}; a new candidate on each of "
        f"{stream['days']} days {stream['promoted']:.1%} of {stream['streams']} streams; without "
        f"them: normal bound at every look {one['normal_looks']:.1%}, best of "
        f"{one['candidates']} {one['normal_best']:.1%}"
    )


def _power(found: dict[str, Any]) -> str:
    one = found["power"]
    curves = (
        f"{overlap}: " + ", ".join(f"{lift} {share:.2f}" for lift, share in curve.items())
        for overlap, curve in one["promoted"].items()
    )
    return f"{one['replications']} replications; " + "; ".join(curves)


def _volume(found: dict[str, Any]) -> str:
    one = found["volume"]
    return (
        f"{one['seconds']} s, peak {one['peak_gb']} GB, "
        f"{one['times_faster_than_a_loop']} times as fast as a loop"
    )


_ROWS = (
    (
        "market of 10 million events",
        "synth",
        "under 120 s",
        lambda f: f"{f['seconds']} s, peak {f['peak_gb']} GB",
    ),
    (
        "ingest + validate 10 million market events",
        "ingest",
        "under 90 s and 4 GB",
        lambda f: f"{f[_BIG]['seconds']} s, peak {f[_BIG]['peak_rss_mb'] / 1024:.2f} GB",
    ),
    ("`dvc repro` with nothing to do", "house", "under 5 s", _house("repro_with_nothing_to_do_s")),
    ("DAG parse", "house", "under 3 s", _house("dag_parse_s")),
    (
        "overhead of the main job (repro, validation, tracking, publishing) over the bare stages",
        "house",
        "under 10 %",
        lambda f: f"{f['overhead']:.1%} ({f['main_job_s']} s over {f['bare_stages_s']} s)",
    ),
    (
        "HSTU training step on MovieLens-1M batches over a plain padded one, two threads",
        "hstu",
        "at least 4 times, aiming for 8",
        _hstu_speed,
    ),
    (
        "HSTU encodes one history of 200 events, one thread",
        "hstu",
        "p50 under 3 ms",
        lambda f: f"p50 {f['encode_p50_ms']} ms, p99 {f['encode_p99_ms']} ms",
    ),
    (
        "HSTU encodes it and ranks 200 candidates, one thread",
        "hstu",
        "p99 under 12 ms; at most 60 % of the operations of two encoders",
        lambda f: (
            f"p50 {f['encode_and_rank_p50_ms']} ms, p99 {f['encode_and_rank_p99_ms']} ms; "
            f"{f['flops_of_two_encoders']:.0%} where the second ranks unpruned"
        ),
    ),
    (
        "the stages up to the verdict at 1, 4 and 16 times the market (the trunk alone, one epoch)",
        "scale",
        "growth stated",
        _scale,
    ),
    (
        "MovieLens-1M (users 1 to 2999, leave last out): HR@10 / nDCG@10",
        "quality_movielens",
        "HSTU at least .295 / .168, and 8 % over SASRec",
        _quality("hr_10", "ndcg_10"),
    ),
    (
        "the same without the time bias",
        "quality_movielens-no-time",
        "what the time bias is worth",
        _quality("hr_10", "ndcg_10"),
    ),
    (
        "the same with 8 blocks of 2 heads (HSTU-large)",
        "quality_movielens-large",
        "published on the whole of ML-1M: .3294 / .1893",
        _quality("hr_10", "ndcg_10"),
    ),
    (
        "Amazon Beauty (leave last out): HR@10 / nDCG@10",
        "quality_beauty",
        "SASRec HR at least .088, HSTU .0788",
        _quality("hr_10", "ndcg_10"),
    ),
    (
        "FAR-Trans at 2020-07-01: nDCG@10",
        "quality_far-trans-2020",
        "HSTU above EASE",
        _quality("ndcg_10"),
    ),
    (
        "FAR-Trans at 2021-07-01: ROI@10 / nDCG@10",
        "quality_far-trans-2021",
        "HSTU above EASE, ROI above the market",
        _quality("roi_10", "ndcg_10"),
    ),
    (
        "FAR-Trans at 2021-07-01, one HSTU by weight on profit (`hstu@weight`): nDCG@10 / ROI@10",
        "pareto",
        "the whole curve; nDCG from .27 and ROI above the market together stand nowhere in print",
        _pareto,
    ),
    (
        "planted world: one model for recall and ranking beside one for each; pruning; few labels",
        "acceptance",
        "joint within 1 % of each alone; AUC without pruning within .002; +.01 AUC by pre-training",
        _acceptance,
    ),
    (
        "one-sided 95 % bounds on planted truth: coverage of DR and SNIPW, normal by cluster (BCa)",
        "within [.93, .99] at ESS of 200 and above on a sound log",
        _OPE,
        _coverage,
    ),
    (
        "logs of that study that the pre-checks refuse",
        "mis-joined propensities and ESS 10 always",
        _OPE,
        _refused,
    ),
    (
        "promotions when no candidate is better",
        "at most 5 % with 20 looks and 10 candidates",
        _OPE,
        _looks,
    ),
    (
        "power of the gate by relative lift: base rate .10, 200,000 requests, alpha .005",
        "at least .80 at +20 %",
        _OPE,
        _power,
    ),
    (
        "10 million exposures of 10 candidates judged, q given, without the bootstrap",
        "under 30 s and 4 GB, 20 times a loop over rows",
        _OPE,
        _volume,
    ),
)


def render() -> None:
    """Write docs/benchmarks.md; a figure without a result says so."""
    lines = []
    for figure, name, asked, told in _ROWS:
        path = RESULTS / f"{name}.json"
        if not path.exists():
            lines.append(f"| {figure} | {asked} | not run | | | |")
            continue
        found = json.loads(path.read_text())
        machine = found["machine"]
        where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB"
        measured = told(found["figures"])
        lines.append(
            f"| {figure} | {asked} | {measured} | {where} | {found['commit']} | {found['day']} |"
        )
    (ROOT / "docs" / "benchmarks.md").write_text(_HEAD + "\n".join(lines) + "\n")


if __name__ == "__main__":
    render()
