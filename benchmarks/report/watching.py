"""What measuring served days costs, whether it repeats, and which faults it finds."""

from __future__ import annotations

from benchmarks.report.page import Found, Section

_SECONDS, _MB, _EXPOSURES = 60, 2048, 1_000_000
_FOUND, _SEEDS, _CLEAN_DAYS = 18, 20, 100
_DAYS, _USERS, _LOOP_SECONDS, _MOST_WRONG = 30, 1_000, 1_800, 0.05


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


def _is_whole(found: Found) -> bool:
    return bool(found["days"] >= _DAYS and found["users"] >= _USERS)


def _above(found: Found) -> list[bool]:
    return [_is_whole(found) and found["seeds"] >= _SEEDS and found["ended_below"] == 0]


def _right(found: Found) -> list[bool]:
    enough = _is_whole(found) and found["seeds"] >= _SEEDS
    return [enough and found["wrong_share"] <= _MOST_WRONG]


def _quick(found: Found) -> list[bool]:
    return [_is_whole(found) and sum(found["seconds"].values()) < _LOOP_SECONDS]


def _same(found: Found) -> list[bool]:
    return [found["days"] >= _DAYS and not days for days in found["other_bytes"].values()]


SECTIONS = (
    Section("simulate", {"above": _above, "right": _right, "quick": _quick}),
    Section("watch_drift", {"detected": _detected, "quiet": _quiet}),
    Section("watch_day", {"costs": _costs}),
    Section("watch_backfill", {"same": _same}),
)
