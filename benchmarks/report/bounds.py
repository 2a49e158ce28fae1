"""Whether the bounds of the gate hold, and which logs it refuses."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.report.page import Figure, Found, Section, bold, parts, table

INTERVALS = {
    "clustered": "normal by cluster",
    "hall": "Hall (skewness corrected)",
    "bca": "BCa (bootstrap)",
}
_ESTIMATORS = {"dr": "DR", "snips": "SNIPS"}
DECIDING = ("hall", "bca")
_COMPARED = {"normal": "normal by request", **INTERVALS}
_DAMAGED = ("30 % duplicated", "20 % mis-joined")
_CLUSTERED = "users differ"
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


def _sound(found: Found) -> Iterator[Found]:
    for regime, one in found["coverage"].items():
        if regime not in _DAMAGED and one["ess"] >= ESS:
            yield one["estimators"]


def _all_sides(found: Found, interval: str) -> list[float]:
    """Return the coverage of both sides of both estimators on every sound log."""
    names = [name for name, measured in _columns(found) if measured == interval]
    return [
        share
        for estimators in _sound(found)
        for name in names
        for share in sides(estimators[name][interval])
    ]


def _coverage_told(found: Found) -> str:
    told = []
    for name in _intervals(found):
        shares = _all_sides(found, name)
        told.append(f"{INTERVALS[name]} {sum(map(inside, shares))} of {len(shares)}")
    return "bounds inside: " + ", ".join(told)


def _coverage_checks(found: Found) -> list[bool]:
    """Ask it of the intervals that the gate leans on; what was not measured does not hold."""
    shares = [_all_sides(found, name) for name in DECIDING]
    return [bool(one) and all(map(inside, one)) for one in shares]


def _coverage_table(found: Found) -> str:
    columns, rows = _columns(found), []
    for regime, one in found["coverage"].items():
        row = [regime + (" (damaged)" if regime in _DAMAGED else ""), f"{one['ess']:.0f}"]
        rows.append(row + [cell(one["estimators"][name][interval]) for name, interval in columns])
    titles = [f"{_ESTIMATORS[name]}, {INTERVALS[interval]}" for name, interval in columns]
    return parts(
        f"{found['replications']} logs of each regime. Share of lower / upper bounds that the true "
        f"value keeps; outside [{LOW}, {HIGH}] in bold.",
        table(["log", "ESS", *titles], rows),
        _clustered_table(found),
        "Logs that each pre-check of the gate refuses:",
        refused_table(found["coverage"]),
    )


def _clustered(found: Found) -> Found | None:
    """Return the estimators on logs whose users differ, if it was measured."""
    one = found["coverage"].get(_CLUSTERED)
    return one and {name: one["estimators"][name] for name in _ESTIMATORS}


def _clustered_table(found: Found) -> str:
    estimators = _clustered(found)
    if estimators is None:
        return ""
    return parts(
        "Where users differ, each has ten requests and clicks either twice as often as the chance "
        "says or never; a bound that takes every request for itself does not know:",
        table(
            ["bound", *_ESTIMATORS.values()],
            (
                [told, *(cell(one[interval]) for one in estimators.values())]
                for interval, told in _COMPARED.items()
            ),
        ),
    )


def _clustered_sides(found: Found, interval: str) -> list[float]:
    estimators = _clustered(found) or {}
    return [share for one in estimators.values() for share in sides(one[interval])]


def _clustered_told(found: Found) -> str:
    told = []
    for interval in ("normal", *DECIDING):
        shares = _clustered_sides(found, interval)
        if shares:
            told.append(f"{_COMPARED[interval]} {min(shares):.3f} to {max(shares):.3f}")
    return ", ".join(told)


def _clustered_checks(found: Found) -> list[bool]:
    return [
        *(all(map(inside, _clustered_sides(found, interval))) for interval in DECIDING),
        all(share < LOW for share in _clustered_sides(found, "normal")),
    ]


_CHECKS = {
    "mean_weight_z": "mean weight is not 1",
    "ess": "ESS too small",
    "largest_share": "one request carries the estimate",
}


def refused_table(regimes: Found) -> str:
    """Tell how many logs each pre-check refuses."""
    return table(
        ["log", *_CHECKS.values()],
        (
            [regime, *(f"{one['refused_by'][check]:.1%}" for check in _CHECKS)]
            for regime, one in regimes.items()
        ),
    )


_ALWAYS = ("20 % mis-joined", "ESS 10")


def _refused(found: Found) -> dict[str, float]:
    """Return the share of logs that the strictest check refuses."""
    return {regime: max(found["coverage"][regime]["refused_by"].values()) for regime in _ALWAYS}


SECTIONS = (
    Section(
        "ope",
        "Bounds and pre-checks on planted truth",
        "How often a one-sided 95 % bound holds on logs of a world whose policy values are known; "
        "asked is .93 to .99 of them. ESS is the effective sample size, DR and SNIPS are the "
        "doubly robust and the self-normalised estimator. Only sound logs from an ESS of 200 "
        "count; damaged ones show what clusters bear and what the pre-checks of the gate must "
        "refuse. Hall is what the gate shows; normal bounds stand there for comparison.",
        "`make bench-ope`",
        (
            Figure(
                "coverage of the bounds of DR and SNIPS, lower and upper",
                "Hall and BCa within [.93, .99] at ESS of 200 and above on a sound log",
                _coverage_told,
                _coverage_checks,
            ),
            Figure(
                "coverage of the same where users differ and come again",
                "Hall and BCa by user within [.93, .99], normal by request below",
                _clustered_told,
                _clustered_checks,
            ),
            Figure(
                "damaged and thin logs that the pre-checks refuse",
                "mis-joined propensities and ESS 10 always",
                lambda f: ", ".join(f"{name} {x:.1%}" for name, x in _refused(f).items()),
                lambda f: [share == 1 for share in _refused(f).values()],
            ),
        ),
        _coverage_table,
    ),
)
