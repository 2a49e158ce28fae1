"""Whether the bounds of the gate hold, and which logs it refuses."""

from __future__ import annotations

from benchmarks.report.page import ENVIRONMENT, Found, Section, bold

INTERVALS = {
    "clustered": "normal by cluster",
    "hall": "Hall (skewness corrected)",
    "bca": "BCa (bootstrap)",
}
DECIDING = ("hall", "bca")
_ESTIMATORS = {"dr": "DR", "snips": "SNIPS"}
_COMPARED = {"normal": "normal by request", **INTERVALS}
_DAMAGED = ("30 % duplicated", "20 % mis-joined")
_ALWAYS = ("20 % mis-joined", "ESS 10")
LOW, HIGH, ESS = 0.93, 0.99, 200


def inside(share: float) -> bool:
    """Is this coverage what was asked."""
    return LOW <= share <= HIGH


def sides(one: Found) -> list[float]:
    """Return the coverage of the lower and of the upper bound."""
    return [side["coverage"] for side in one.values()]


def cell(one: Found) -> str:
    """Tell the coverage of both bounds, in bold where it is not what was asked."""
    return " / ".join(bold(f"{share:.3f}", when=not inside(share)) for share in sides(one))


def _columns(found: Found) -> list[tuple[str, str]]:
    """Return each estimator with each interval that was measured for it, of those shown."""
    first = next(iter(found["coverage"].values()))["estimators"]
    return [
        (name, interval)
        for name in _ESTIMATORS
        for interval in INTERVALS
        if interval in first[name]
    ]


def _intervals(found: Found) -> list[str]:
    measured = {interval for _, interval in _columns(found)}
    return [interval for interval in INTERVALS if interval in measured]


def _all_sides(found: Found, interval: str) -> list[float]:
    """Return the coverage of both sides of both estimators on every sound log."""
    names = [name for name, measured in _columns(found) if measured == interval]
    return [
        share
        for regime, one in found["coverage"].items()
        if regime not in _DAMAGED and one["ess"] >= ESS
        for name in names
        for share in sides(one["estimators"][name][interval])
    ]


def _coverage(found: Found) -> list[bool]:
    """Ask it of the intervals that the gate leans on; what was not measured does not hold."""
    shares = [_all_sides(found, name) for name in DECIDING]
    return [bool(one) and all(map(inside, one)) for one in shares]


def _clustered(found: Found) -> list[Found]:
    """Return the estimators on logs whose users differ, if it was measured."""
    one = found["coverage"].get("users differ")
    return [one["estimators"][name] for name in _ESTIMATORS] if one else []


def _clustered_sides(found: Found, interval: str) -> list[float]:
    return [share for one in _clustered(found) for share in sides(one[interval])]


def _clustered_hold(found: Found) -> list[bool]:
    return [
        *(all(map(inside, _clustered_sides(found, interval))) for interval in DECIDING),
        all(share < LOW for share in _clustered_sides(found, "normal")),
    ]


def _refused(found: Found) -> dict[str, float]:
    """Return the share of logs that the strictest check refuses."""
    return {regime: max(found["coverage"][regime]["refused_by"].values()) for regime in _ALWAYS}


ENVIRONMENT.tests["inside"] = inside
SECTIONS = (
    Section(
        "ope_bounds",
        {
            "coverage": _coverage,
            "clustered": _clustered_hold,
            "refused": lambda f: [share == 1 for share in _refused(f).values()],
        },
        {
            "all_sides": _all_sides,
            "cell": cell,
            "clustered": _clustered,
            "clustered_sides": _clustered_sides,
            "columns": _columns,
            "intervals": _intervals,
            "refused": _refused,
            "COMPARED": _COMPARED,
            "DAMAGED": _DAMAGED,
            "ESTIMATORS": _ESTIMATORS,
            "HIGH": HIGH,
            "INTERVALS": INTERVALS,
            "LOW": LOW,
        },
        "ope",
    ),
)
