"""What a ranker is told of investors, compared."""

from __future__ import annotations

from benchmarks.report.gaps import ahead
from benchmarks.report.page import Found, Section

_NAMES = {
    "none": "nothing",
    "dense": "dense vector",
    "cluster": "one cluster of 32",
    "rkmeans": "codes by residual k-means, tables",
    "rq_fsq": "codes by RQ-FSQ, tables (HDE)",
    "rq_fsq_long": "twice as many of these",
    "decoded": "codes by RQ-FSQ, decoded",
    "decoded_long": "twice as many of these",
    "shuffled": "codes of another request",
}
_METRICS = {"auc": "click AUC", "cold": "cold investors", "warm": "warm", "slate": "within slates"}
_BESIDE = {"few": "features of investor, item and price alone", "all": "all features"}
_NONE, _DENSE, _CODES = "none", "dense", "rq_fsq"
_NEAR = 0.002


def _values(found: Found, beside: str, way: str, metric: str) -> list[float]:
    return [one[beside]["ways"][way][metric] for one in found["seeds"].values()]


def _bits(found: Found, way: str) -> int:
    return int(next(iter(found["seeds"].values()))["few"]["ways"][way]["bits"])


def _ahead(found: Found, beside: str, way: str, metric: str, other: str) -> Found:
    """Return how far one way is ahead of another, with two standard errors over the seeds."""
    return ahead(*(_values(found, beside, one, metric) for one in (way, other)))


def _colder(found: Found, beside: str) -> Found:
    """Return how much more codes gain for cold investors than for warm ones."""
    gains = (
        [
            one - other
            for one, other in zip(
                _values(found, beside, _CODES, part), _values(found, beside, _NONE, part),
                strict=True,
            )
        ]
        for part in ("cold", "warm")
    )  # fmt: skip
    return ahead(*gains)


def _hold(found: Found) -> list[bool]:
    return [_ahead(found, one, _CODES, "auc", _DENSE)["low"] > -_NEAR for one in _BESIDE]


def _gain(found: Found) -> list[bool]:
    return [_ahead(found, one, _CODES, "auc", _NONE)["low"] > 0 for one in _BESIDE]


def _cold(found: Found) -> list[bool]:
    return [_colder(found, one)["low"] > 0 for one in _BESIDE]


SECTIONS = (
    Section("investor_codes", {"hold": _hold, "gain": _gain, "cold": _cold},
            {"ahead": _ahead, "values": _values, "bits": _bits, "colder": _colder,
             "names": _NAMES, "metrics": _METRICS, "beside": _BESIDE}),
)  # fmt: skip
