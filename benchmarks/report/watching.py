"""What measuring a served day costs, and which faults it finds."""

from __future__ import annotations

from benchmarks.report.page import Found, Section

_SECONDS, _MB, _EXPOSURES = 60, 2048, 1_000_000
_FOUND, _SEEDS, _CLEAN_DAYS = 18, 20, 100


def _costs(found: Found) -> list[bool]:
    return [
        found["exposures"] >= _EXPOSURES and found["seconds"] < _SECONDS,
        found["exposures"] >= _EXPOSURES and found["megabytes"] < _MB,
    ]


def _detected(found: Found) -> list[bool]:
    enough = found["seeds"] >= _SEEDS
    return [enough and one["any"] >= _FOUND for one in found["faults"].values()]


def _quiet(found: Found) -> list[bool]:
    enough = found["clean_days"] >= _CLEAN_DAYS
    return [enough and found["false_alarms"] * _CLEAN_DAYS <= found["clean_days"]]


SECTIONS = (
    Section("watch_drift", {"detected": _detected, "quiet": _quiet}),
    Section("watch_day", {"costs": _costs}),
)
