"""Lay the results beside the figures they must meet, in docs/benchmarks.md."""

from __future__ import annotations

import json

from benchmarks.common import RESULTS, ROOT
from benchmarks.told import (
    BIG,
    ablation,
    acceptance,
    causal,
    coverage,
    effects,
    house,
    hstu_speed,
    looks,
    mailings,
    market_looks,
    orders,
    pareto,
    power,
    quality,
    refused,
    scale,
    trials,
    volume,
)

_HEAD = """# Benchmarks

Rendered from `benchmarks/results/`, never edited by hand: `make bench`, `make bench-ope`,
`make bench-uplift`, `make bench-causal`, `make bench-quality SET=...`, `make bench-pareto`,
`make bench-ablation`, `make bench-ope-market`.
Seconds are wall-clock on the machine named.

| figure | asked | measured | machine | commit | day |
|---|---|---|---|---|---|
"""
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
        lambda f: f"{f[BIG]['seconds']} s, peak {f[BIG]['peak_rss_mb'] / 1024:.2f} GB",
    ),
    ("`dvc repro` with nothing to do", "house", "under 5 s", house("repro_with_nothing_to_do_s")),
    ("DAG parse", "house", "under 3 s", house("dag_parse_s")),
    ("`tessera rollback`, MLflow's alias included", "house", "under 5 s", house("rollback_s")),
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
        hstu_speed,
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
        "the stages up to the verdict at multiples of the market (the trunk alone, one epoch)",
        "scale",
        "1, 4 and 16 times, growth stated",
        scale,
    ),
    (
        "MovieLens-1M (users 1 to 2999, leave last out): HR@10 / nDCG@10",
        "quality_movielens",
        "HSTU at least .295 / .168, and 8 % over SASRec",
        quality("hr_10", "ndcg_10"),
    ),
    (
        "the same without the time bias",
        "quality_movielens-no-time",
        "what the time bias is worth",
        quality("hr_10", "ndcg_10"),
    ),
    (
        "the same with 8 blocks of 2 heads (HSTU-large)",
        "quality_movielens-large",
        "published on the whole of ML-1M: .3294 / .1893",
        quality("hr_10", "ndcg_10"),
    ),
    (
        "Amazon Beauty (leave last out): HR@10 / nDCG@10",
        "quality_beauty",
        "SASRec HR at least .088, HSTU .0788",
        quality("hr_10", "ndcg_10"),
    ),
    (
        "FAR-Trans at 2020-07-01: nDCG@10",
        "quality_far-trans-2020",
        "HSTU above EASE",
        quality("ndcg_10"),
    ),
    (
        "FAR-Trans at 2021-07-01: ROI@10 / nDCG@10",
        "quality_far-trans-2021",
        "HSTU above EASE, ROI above the market",
        quality("roi_10", "ndcg_10"),
    ),
    (
        "FAR-Trans at 2021-07-01, one HSTU by weight on profit (`hstu@weight`): nDCG@10 / ROI@10",
        "pareto",
        "the whole curve; nDCG from .27 and ROI above the market together stand nowhere in print",
        pareto,
    ),
    (
        "the market without each part of the model (a minus is what the part is worth)",
        "ablation",
        "every part earns its place, or is off by default",
        ablation,
    ),
    (
        "planted world: one model for recall and ranking beside one for each; pruning; few labels",
        "acceptance",
        "joint within 1 % of each alone; AUC without pruning within .002; +.01 AUC by pre-training",
        acceptance,
    ),
    (
        "item-item effects and those planted in the market: Pearson correlation over all supported "
        "pairs (coverage of 95 % intervals where nothing is planted)",
        "causal",
        "above co-occurrence, confounding on and off",
        causal,
    ),
    (
        "one-sided 95 % bounds on planted truth: coverage of DR and SNIPS, normal by cluster (BCa)",
        "ope",
        "within [.93, .99] at ESS of 200 and above on a sound log",
        coverage,
    ),
    (
        "logs of that study that the pre-checks refuse",
        "ope",
        "mis-joined propensities and ESS 10 always",
        refused,
    ),
    (
        "promotions when no candidate is better",
        "ope",
        "at most 5 % with 20 looks and 10 candidates",
        looks,
    ),
    (
        "the same on replays of the market's log, slates and clicks drawn again",
        "ope_market",
        "at most 5 % in at least 1,000 A/A replays",
        market_looks,
    ),
    (
        "scorers whose worth is known, each judged by the whole gate",
        "ope_trials",
        "never promoted: random weights, reward flipped, random but flattered; better promoted",
        trials,
    ),
    (
        "power of the gate by relative lift, at 200,000 requests and alpha .005",
        "ope_power",
        "at least .80 at +20 %",
        power,
    ),
    (
        "10 million exposures of 10 candidates judged, q given, without the bootstrap",
        "ope_volume",
        "under 30 s and 4 GB, 20 times a loop over rows",
        volume,
    ),
    (
        "Hillstrom e-mail trial: effect of each e-mail on visits",
        "uplift",
        ".076590 men's, .045233 women's, to 1e-6",
        effects,
    ),
    (
        "the same, customers ordered by learners that never saw them: Qini, AUUC",
        "uplift",
        "intervals, p-values and the row of a constant effect",
        orders,
    ),
    (
        "the same: visits per customer of mailing policies, doubly robust, with 95 % bounds",
        "uplift",
        "the value of mailing whom the model picks, with a bound",
        mailings,
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
