"""How slates are ordered, how long a list takes, and what a service does with too much."""

from __future__ import annotations

from typing import get_args

from benchmarks.report.page import Found, Section
from tessera.model.nn.ranking import TASKS
from tessera.serve.params import Source

_TRAINED = {"ranking head": "", "DLRM": "_dlrm", "Wide & Deep": "_wide_deep"}
_RANKERS = _TRAINED | {"cosine": "_cosine", "popularity": "_popularity"}
"""How the metric of each ranker ends."""
_METRICS = {f"rank_auc_{task}": f"AUC, {task}" for task in TASKS} | {
    "rank_ece_click": "calibration error, click"
}
_CALIBRATED, _MOST_MS = 0.02, 50
_SHED_MS, _MOST_MB = 1, 128


def _worst(found: Found) -> Found:
    """Return what was measured at the highest rate."""
    highest: Found = found["open"][-1]
    return highest


_FOUND = 0.95
_SOURCES = {
    "served": "what is served",
    "learnt": "learnt shares",
    **{name: f"{name} alone" for name in get_args(Source)},
}
"""What finds acquisitions, by its name in the figures."""


def _values(found: Found, name: str) -> list[float]:
    return [one[name] for one in found["seeds"].values() if name in one]


def _metrics(found: Found) -> dict[str, str]:
    """Return what was measured of the ranking head."""
    return {name: title for name, title in _METRICS.items() if _values(found, name)}


def _calibrated(found: Found) -> list[bool]:
    ends = _TRAINED.values()
    return [max(_values(found, f"rank_ece_click{end}")) < _CALIBRATED for end in ends]


def _lists(found: Found) -> list[bool]:
    searches = [one for one in found["index"]["searches"] if one["index"] == "lists"]
    return [one["recall"] > _FOUND for one in searches]


SECTIONS = (
    Section(
        "rankers",
        {"calibrated": _calibrated},
        {"metrics": _metrics, "rankers": _RANKERS, "trained": _TRAINED, "values": _values},
    ),
    Section(
        "recommend",
        {"list": lambda f: [f["recommend"]["p99_ms"] < _MOST_MS, f["overlap_50"] > 0.95]},
    ),
    Section(
        "overload",
        {
            "shed": lambda f: [_worst(f)["shed_in_server_ms"]["p99"] < _SHED_MS],
            "late": lambda f: [_worst(f)["answered_ms"]["p99"] < f["deadline_ms"]],
            "malformed": lambda f: [
                not f["malformed"]["5xx"],
                f["malformed"]["mb_most"] - f["malformed"]["mb_before"] < _MOST_MB,
            ],
        },
        {"worst": _worst},
    ),
    Section(
        "retrieval",
        {
            "lists": _lists,
            "mix": lambda f: [f["mix"]["gain"] > f["mix"]["error"]],
        },
        {"sources": _SOURCES},
    ),
)
