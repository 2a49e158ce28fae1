"""Whether the bounds of the gate's panel hold for lifts of slates."""

from __future__ import annotations

from benchmarks.report.bounds import DECIDING, ESS, HIGH, INTERVALS, LOW, cell, inside, sides
from benchmarks.report.page import Found, Section

_BOUNDED = {
    "RIPS": "rips",
    "SNRIPS": "snrips",
    "cascade-DR": "dr",
    "cascade-SWITCH": "switch_dr",
    "IIPS": "iips",
}
_UNBOUNDED = {"reward model alone": "dm"}
_INTERACTING = "the item above matters"
_SEQUENCE = 0.95


def _asked_of(found: Found, estimator: str, interval: str) -> list[float]:
    """Return the coverage of both sides on sound logs, wherever the estimator may be used."""
    return [
        share
        for regime, one in found["slates"].items()
        if one["ess"] >= ESS and not (estimator == "iips" and regime == _INTERACTING)
        for share in sides(one["estimators"][estimator][interval])
    ]


def _asked(found: Found) -> dict[str, list[float]]:
    """Return by estimator what its deciding intervals cover."""
    return {
        name: [share for one in DECIDING for share in _asked_of(found, estimator, one)]
        for name, estimator in _BOUNDED.items()
    }


def _bounds(found: Found) -> list[bool]:
    return [
        all(map(inside, _asked_of(found, estimator, interval)))
        for estimator in _BOUNDED.values()
        for interval in DECIDING
    ]


def _sequence(found: Found) -> list[float]:
    return [
        share
        for one in found["slates"].values()
        for share in sides(one["estimators"]["excess"]["sequence"])
    ]


SECTIONS = (
    Section(
        "ope_slates",
        {"bounds": _bounds, "sequence": lambda f: [share >= _SEQUENCE for share in _sequence(f)]},
        {
            "asked": _asked,
            "cell": cell,
            "sequence": _sequence,
            "ESTIMATORS": _BOUNDED | _UNBOUNDED,
            "HIGH": HIGH,
            "INTERVALS": INTERVALS,
            "LOW": LOW,
        },
        "ope",
    ),
)
