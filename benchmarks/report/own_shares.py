"""How an item's own vector is weighed against its codes, compared."""

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
_SUM, _SHRINK, _NET = "codewords", "shrink", "net"
_NAMES = {
    _SUM: "plain sum",
    _SHRINK: "n / (n + k)",
    "logistic": "logistic regression",
    _NET: "net",
}


def _values(found: Found, name: str, metric: str) -> list[float]:
    return [one[name][metric] for one in found["seeds"].values() if metric in one[name]]


def _metrics(found: Found) -> dict[str, str]:
    return {one: word for one, word in _METRICS.items() if _values(found, _NET, one)}


def _ahead(found: Found, name: str, other: str, metric: str) -> Found:
    """Return how far an input is ahead of another, with two standard errors over the seeds."""
    return ahead(*(_values(found, one, metric) for one in (name, other)))


def _earns(found: Found) -> list[bool]:
    return [
        _ahead(found, _NET, other, metric)["low"] > 0
        for other in (_SUM, _SHRINK)
        for metric in ("ndcg_10", "cold_ndcg_10")
    ]


SECTIONS = (
    Section("item_shares", {"earns": _earns},
            {"ahead": _ahead, "metrics": _metrics, "values": _values, "names": _NAMES}),
)  # fmt: skip
