"""What decoding codes and walking along edges find, beside plainer ways, and what they cost."""

from __future__ import annotations

from benchmarks.report.gaps import ahead
from benchmarks.report.page import Found, Section

_METRICS = {
    "ndcg_10": "nDCG@10",
    "recall_10": "Recall@10",
    "recall_50": "Recall@50",
    "coverage_10": "coverage@10",
    "cold_ndcg_10": "nDCG@10, cold",
    "cold_recall_10": "Recall@10, cold",
    "born_recall_10": "Recall@10, born later",
}
_WITH, _WITHOUT = "with", "without"
_DECODED, _DENSE, _SERVED = "hstu_generative", "hstu_trunk", "hstu"
_P99_MS = 5.0
_ROUNDED = 1e-8
"""Digits that a result keeps of an error."""


def _values(found: Found, part: str, model: str, metric: str) -> list[float]:
    models = [one[part]["models"][model] for one in found["seeds"].values()]
    return [one[metric] for one in models if metric in one]


def _metrics(found: Found) -> dict[str, str]:
    """Return what was measured of the decoded lists."""
    return {one: word for one, word in _METRICS.items() if _values(found, _WITH, _DECODED, one)}


def _rows(found: Found) -> list[tuple[str, str]]:
    """Return part and model of each row: the two sources, what is published, then baselines."""
    models = next(iter(found["seeds"].values()))[_WITH]["models"]
    own = (_DECODED, _DENSE, _SERVED)
    rest = [(_WITH, name) for name in models if name not in own]
    return [*((_WITH, name) for name in own), (_WITHOUT, _SERVED), *rest]


def _ahead(found: Found, metric: str, served: bool = False) -> Found:
    """Return how far decoding is ahead of the dense trunk, or what is served of itself without."""
    pair = (
        ((_WITH, _SERVED), (_WITHOUT, _SERVED)) if served else ((_WITH, _DECODED), (_WITH, _DENSE))
    )
    return ahead(*(_values(found, *one, metric) for one in pair))


def _largest(found: Found) -> Found:
    largest: Found = max(found["catalogues"], key=lambda one: one["items"])
    return largest


def _is_near(found: Found, graph: Found) -> bool:
    """Tell whether pushing is off by no more than it says, and nearer than two steps."""
    walks, served = graph["walks"], graph["walks"][found["served"]]
    kept = all(one["short"] <= one["left"] + _ROUNDED for one in walks.values() if "left" in one)
    return bool(kept and served["same"] > walks["two steps"]["same"])


SECTIONS = (
    Section(
        "generate",
        {
            "earns": lambda f: [
                _ahead(f, metric)["low"] > 0 for metric in ("recall_50", "cold_ndcg_10")
            ]
        },
        {"ahead": _ahead, "metrics": _metrics, "rows": _rows, "values": _values, "WITH": _WITH},
    ),
    Section(
        "beam",
        {"fast": lambda f: [_largest(f)[word]["p99_ms"] < _P99_MS for word in ("all", "tenth")]},
        {"largest": _largest},
    ),
    Section("walk", {"near": lambda f: [_is_near(f, one) for one in f["graphs"]]}),
)
