"""What a load beyond these machines would need."""

from __future__ import annotations

from benchmarks.report.page import Found, Section

_NEAR = 0.25
"""By how much a simulated p99 may lie from the measured one."""


def _near(found: Found) -> list[bool]:
    return [abs(off(one)) < _NEAR for one in found["worker"]["rows"]]


def off(row: Found) -> float:
    """Return by which share the simulated p99 lies from the measured one."""
    return float(row["simulated"]["p99"] / row["measured"]["p99"] - 1)


def first_to_end(found: Found) -> list[tuple[str, str, float]]:
    """Return stage, what it runs out of and at how many events, the first one first.

    >>> found = {"a": {"memory": None, "day": 5.0}, "b": {"memory": 2.0, "day": 9.0}}
    >>> first_to_end({"ends": found})
    [('b', '16 GB', 2.0), ('a', 'a day', 5.0)]
    """
    rows = []
    for stage, one in found["ends"].items():
        limits = {"16 GB": one["memory"], "a day": one["day"]}
        known = [(at, name) for name, at in limits.items() if at is not None]
        if known:
            at, name = min(known)
            rows.append((stage, name, at))
    return sorted(rows, key=lambda one: one[2])


def bytes_of_histories(found: Found) -> float:
    """Return GB of two months of events of all investors, as a bundle holds them."""
    return float(2 * found["asked"]["events"] * found["event_bytes"] / 2**30)


SECTIONS = (
    Section(
        "sizing",
        {"near": _near},
        {"off": off, "first": first_to_end, "histories_gb": bytes_of_histories},
    ),
)
