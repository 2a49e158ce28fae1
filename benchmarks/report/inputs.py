"""What makes the vector of an item out of its codes, compared."""

from __future__ import annotations

from benchmarks.report.gaps import ahead
from benchmarks.report.page import Found, Section

_METRICS = {
    "ndcg_10": "nDCG@10",
    "recall_50": "Recall@50",
    "cold_ndcg_10": "nDCG@10, cold",
    "cold_recall_10": "Recall@10, cold",
    "auc_click": "click AUC of slates",
}
_PLAIN, _PREFIX = "codewords", "prefix"
_NAMES = {
    _PLAIN: "sum of codewords",
    _PREFIX: "and remembered prefixes",
    "shrunk": "and two rows a table",
}


def _values(found: Found, name: str, metric: str) -> list[float]:
    return [one[name][metric] for one in found["seeds"].values() if metric in one[name]]


def _metrics(found: Found) -> dict[str, str]:
    return {one: word for one, word in _METRICS.items() if _values(found, _PREFIX, one)}


def _ahead(found: Found, name: str, metric: str) -> Found:
    """Return how far an input is ahead of the sum, with two standard errors over the seeds."""
    return ahead(*(_values(found, one, metric) for one in (name, _PLAIN)))


def _earns(found: Found) -> list[bool]:
    return [_ahead(found, _PREFIX, one)["low"] > 0 for one in ("ndcg_10", "cold_ndcg_10")]


SECTIONS = (
    Section("item_inputs", {"earns": _earns},
            {"ahead": _ahead, "metrics": _metrics, "values": _values, "names": _NAMES}),
)  # fmt: skip
