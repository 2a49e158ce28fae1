"""What makes the vector of an item out of its codes, and how its own is weighed against them."""

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
_INPUTS = {
    _PLAIN: "sum of codewords",
    _PREFIX: "and remembered prefixes",
    "shrunk": "and two rows a table",
}
_SHRINK, _NET = "shrink", "net"
_SHARES = {
    _PLAIN: "plain sum",
    _SHRINK: "n / (n + k)",
    "logistic": "logistic regression",
    _NET: "net",
}
_RANKED = ("ndcg_10", "cold_ndcg_10")


def _values(found: Found, name: str, metric: str) -> list[float]:
    return [one[name][metric] for one in found["seeds"].values() if metric in one[name]]


def _metrics(found: Found) -> dict[str, str]:
    return {one: word for one, word in _METRICS.items() if _values(found, _PLAIN, one)}


def _ahead(found: Found, name: str, metric: str, other: str = _PLAIN) -> Found:
    """Return how far an input is ahead of another, with two standard errors over the seeds."""
    return ahead(*(_values(found, one, metric) for one in (name, other)))


def _remembers(found: Found) -> list[bool]:
    return [_ahead(found, _PREFIX, one)["low"] > 0 for one in _RANKED]


def _weighs(found: Found) -> list[bool]:
    return [_ahead(found, _NET, metric, other)["low"] > 0
            for other in (_PLAIN, _SHRINK) for metric in _RANKED]  # fmt: skip


_GIVEN = {"ahead": _ahead, "metrics": _metrics, "values": _values}
SECTIONS = (
    Section("item_inputs", {"earns": _remembers}, {**_GIVEN, "names": _INPUTS}),
    Section("item_shares", {"earns": _weighs}, {**_GIVEN, "names": _SHARES}),
)
