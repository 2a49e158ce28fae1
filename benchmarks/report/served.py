"""What the service was measured at: its speed, its end, its swaps, what it shows and explores."""

from __future__ import annotations

from benchmarks.report.page import Found, Section

_MOST_MS = {10_000: 25, 1_000_000: 50}
"""Of a whole request at 20 a second, by items."""
_RETRIEVED_MS, _EFFECT_MS, _MB_PER_HOUR = 10, 50, 10
_LARGEST = 1_000_000
_KILLS, _SWAPS = 100, 50


def _sizes(found: Found) -> dict[int, Found]:
    """Return what was measured of each catalogue, by its items."""
    return {int(name): one for name, one in found.items() if name.isdigit()}


def _steps(found: Found) -> list[str]:
    return list(next(iter(_sizes(found).values()))["steps_ms"])


def _whole(found: Found) -> list[bool]:
    return [size in _sizes(found) and _sizes(found)[size]["evenly"]["p99"] < most
            for size, most in _MOST_MS.items()]  # fmt: skip


def _retrieved(found: Found) -> list[bool]:
    sizes = _sizes(found)
    return [_LARGEST in sizes and sizes[_LARGEST]["steps_ms"]["retrieve"]["p99"] < _RETRIEVED_MS]


def _effect(found: Found) -> list[bool]:
    return [one["feedback_to_effect_ms"]["p99"] < _EFFECT_MS for one in _sizes(found).values()]


def _swapped(found: Found) -> list[bool]:
    enough = min(found["publishes"], found["rollbacks"]) >= _SWAPS
    return [enough and found["failed"] == 0, enough and found["mixed"] == 0]


def _killed(found: Found) -> list[bool]:
    enough = found["kills"] >= _KILLS
    return [enough and found[name] == 0 for name in ("lost", "repeated", "torn")]


def _flat(found: Found) -> list[bool]:
    slope, known = found["mb_per_hour"], found["mb_per_hour_of_events"]
    is_flat = slope["low"] <= known or slope["high"] < known + _MB_PER_HOUR
    return [found["minutes"] >= 60 and is_flat]


def _equal(found: Found) -> list[bool]:
    one = found["rows"]["service"]
    return [abs(one["ahead"]) <= 2 * one["error"]]


SECTIONS = (
    Section(
        "serve",
        {"whole": _whole, "retrieve": _retrieved, "effect": _effect},
        {"sizes": _sizes, "steps": _steps},
    ),
    Section("serve_kills", {"kills": _killed}),
    Section("serve_swaps", {"swaps": _swapped}),
    Section("serve_soak", {"flat": _flat}),
    Section("serve_quality", {"equal": _equal}),
    Section("serve_exploration"),
)
