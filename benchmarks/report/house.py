"""What the house costs: data, pipeline, training speed, growth."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

from benchmarks.report.page import Found, Section

_BIG = "10000000 events"
_FULL, _SHARED = "by_length_full_softmax", "by_length_shared_negatives"
_WORKERS = 2
_NEAR = 1e-4
"""How far sums in another order may take a short training."""
_ASKED_NDCG = 0.168
"""Of the authors' code on the same users."""


def _under(**limits: float) -> Callable[[Found], list[bool]]:
    return lambda found: [found[key] < limit for key, limit in limits.items()]


def _sizes(found: Found) -> Found:
    return {size: one for size, one in found.items() if size != "growth"}


def _stages(found: Found) -> list[str]:
    sizes = _sizes(found).values()
    return [name for name, one in next(iter(sizes)).items()
            if isinstance(one, dict) and all(name in size for size in sizes)]  # fmt: skip


def _columns(found: Found) -> list[Found]:
    """Return what each size says of every stage, then what each step of growth does."""
    return [*_sizes(found).values(), *found.get("growth", {}).values()]


def _steepest(found: Found, key: str) -> float:
    return max(float(one[key]) for step in found["growth"].values() for one in step.values())


def _shared_ndcg(found: Found) -> float:
    """Return the nDCG@10 on MovieLens after training with shared negatives; NaN if not run."""
    if "beside" not in found:
        return math.nan
    seeds = found["beside"]["figures"]["seeds"].values()
    return statistics.fmean(one["models"]["hstu"]["ndcg_10"] for one in seeds)


def _same(found: Found) -> list[bool]:
    """Whether no artifact differs nor the verdict, and both workspaces had a part in them."""
    same = [not found["differ"], len(set(found["verdict"].values())) == 1]
    return [*same, len(found["ran"]) == _WORKERS]


def _lost(found: Found) -> list[bool]:
    """Whether what was killed ended with the model of one process, in both ways."""
    ways = [found[name] for name in ("second_dies", "first_dies")]
    last = [ways[0]["ends"]["first"], *ways[1]["again"].values()]
    near = [one["loss_gap"] < _NEAR and one["weights_gap"] < _NEAR for one in ways]
    return [*near, not any(last)]


def _spark_differ(found: Found) -> list[str]:
    """Name each table that any size has otherwise on Spark."""
    return sorted({name for one in found["sizes"].values() for name in one["differ"]})


def _refused(found: Found) -> list[bool]:
    """Whether machines that were told different things wrote nothing and said what differs."""
    told = {"other_params": "differ in dropout", "other_code": "differ in code"}
    return [
        words in found[name]["said"] and not found[name]["model"] for name, words in told.items()
    ]


def _ended(ends: dict[str, int]) -> str:
    words = {0: "done", -9: "killed"}
    return ", ".join(f"{name} {words.get(end, f'exit {end}')}" for name, end in ends.items())


def _most(found: Found) -> int:
    return max(int(many) for many in found["processes"])


def _quiet(found: Found) -> bool:
    """Whether each process had a core."""
    return bool(found["cores"] >= _most(found))


SECTIONS = (
    Section("synth", {"seconds": _under(seconds=120)}),
    Section(
        "ingest",
        {"big": lambda f: _under(seconds=90, peak_rss_mb=4096)(f[_BIG])},
        {"big": _BIG},
    ),
    Section(
        "house",
        {
            "repro_with_nothing_to_do_s": _under(repro_with_nothing_to_do_s=5),
            "dag_parse_s": _under(dag_parse_s=3),
            "rollback_s": _under(rollback_s=5),
            "overhead": _under(overhead=0.1),
        },
    ),
    Section(
        "hstu",
        {
            "training": lambda f: [
                f[_SHARED + "_ratio"] >= 4,
                _shared_ndcg(f) >= _ASKED_NDCG,
            ],
            "encode": _under(encode_p50_ms=3),
            "rank": lambda f: [
                f["encode_and_rank_p99_ms"] < 12,
                f["operations"]["200"]["unpruned"] <= 0.6,
            ],
        },
        {"full": _FULL, "shared": _SHARED, "shared_ndcg": _shared_ndcg},
        beside="quality_movielens-shared",
    ),
    Section(
        "scale",
        {"sizes": lambda f: [*(size in f for size in ("1x", "4x", "16x")), bool(f.get("growth"))]},
        {"sizes": _sizes, "stages": _stages, "columns": _columns, "steepest": _steepest},
    ),
    Section("cluster", {"differ": _same}),
    Section("spark", {"differ": lambda f: [not _spark_differ(f)]}, {"differ": _spark_differ}),
    Section("spark_cluster", {"differ": lambda f: [not f["differ"]]}),
    Section("machines", {"lost": _lost, "refused": _refused}, {"ended": _ended}),
    Section("processes", {}, {"quiet": _quiet, "most": _most}),
    Section(
        "scale_items",
        {"sizes": lambda f: [*(size in f for size in ("1x", "4x", "16x")), bool(f.get("growth"))]},
        {"sizes": _sizes, "stages": _stages, "columns": _columns, "steepest": _steepest},
    ),
)
