"""What each source of candidates finds, and what they find together."""

from __future__ import annotations

from benchmarks.report.gaps import ahead
from benchmarks.report.page import Found, Section

_TITLES = {
    "dense": "dense",
    "walk": "walk",
    "walk_undeclared": "walk, nothing declared",
    "generated": "generated",
    "content": "content",
    "segment": "segment",
    "popular": "popular",
    "blend": "blend of dense, walk and generated",
    "blend_all": "blend of all",
}
_COLUMNS = {
    (part, metric): f"{word}, {part} items"
    for part in ("all", "cold", "warm")
    for metric, word in (("recall", "found"), ("ndcg_10", "nDCG@10"))
}


def _sources(found: Found) -> dict[str, str]:
    """Return the names of the sources that were measured, with what they are called."""
    measured = next(iter(found["seeds"].values()))["sources"]
    return {name: title for name, title in _TITLES.items() if name in measured}


def _values(found: Found, source: str, part: str, metric: str) -> list[float]:
    return [one["sources"][source][part][metric] for one in found["seeds"].values()]


def _honest(found: Found, part: str) -> list[float]:
    return [one["honest"][part] for one in found["seeds"].values()]


def _gap(found: Found, source: str, other: str, part: str, metric: str) -> Found:
    """Return how far one source is ahead of another, by the seeds."""
    return ahead(*(_values(found, name, part, metric) for name in (source, other)))


def _blend(found: Found) -> list[bool]:
    more = (("all", "recall"), ("cold", "ndcg_10"))
    return [
        *(_gap(found, "blend", "dense", *one)["low"] > 0 for one in more),
        _gap(found, "blend", "dense", "warm", "recall")["high"] >= 0,
    ]


SECTIONS = (
    Section(
        "sources",
        {"blend": _blend},
        {
            "sources": _sources,
            "columns": _COLUMNS,
            "values": _values,
            "honest": _honest,
            "gap": _gap,
        },
    ),
)
