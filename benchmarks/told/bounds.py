"""Whether the bounds of the gate hold, and which logs it refuses."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.told.page import Figure, Found, Section, bold, parts, table

_INTERVALS = {
    "clustered": "normal by cluster",
    "hall": "Hall (skewness corrected)",
    "bca": "BCa (bootstrap)",
}
_ESTIMATORS = {"dr": "DR", "snips": "SNIPS"}
_DAMAGED = ("30 % duplicated", "20 % mis-joined")
_LOW, _HIGH, _ESS = 0.93, 0.99, 200


def _inside(share: float) -> bool:
    return _LOW <= share <= _HIGH


def _columns(found: Found) -> list[tuple[str, str]]:
    """Return each estimator with each interval that was measured for it, of those shown."""
    first = next(iter(found["coverage"].values()))["estimators"]
    return [
        (name, interval)
        for name in _ESTIMATORS
        for interval in _INTERVALS
        if interval in first[name]
    ]


def _intervals(found: Found) -> list[str]:
    measured = {interval for _, interval in _columns(found)}
    return [interval for interval in _INTERVALS if interval in measured]


def _sound(found: Found) -> Iterator[Found]:
    for regime, one in found["coverage"].items():
        if regime not in _DAMAGED and one["ess"] >= _ESS:
            yield one["estimators"]


def _sides(found: Found, interval: str) -> list[float]:
    """Return the coverage of both sides of both estimators on every sound log."""
    names = [name for name, measured in _columns(found) if measured == interval]
    return [
        side["coverage"]
        for estimators in _sound(found)
        for name in names
        for side in estimators[name][interval].values()
    ]


def _coverage_told(found: Found) -> str:
    told = []
    for name in _intervals(found):
        sides = _sides(found, name)
        told.append(f"{_INTERVALS[name]} {sum(map(_inside, sides))} of {len(sides)}")
    return "bounds inside: " + ", ".join(told)


def _coverage_table(found: Found) -> str:
    columns, rows = _columns(found), []
    for regime, one in found["coverage"].items():
        row = [regime + (" (damaged)" if regime in _DAMAGED else ""), f"{one['ess']:.0f}"]
        for name, interval in columns:
            shares = [side["coverage"] for side in one["estimators"][name][interval].values()]
            row.append(" / ".join(bold(f"{x:.3f}", when=not _inside(x)) for x in shares))
        rows.append(row)
    titles = [f"{_ESTIMATORS[name]}, {_INTERVALS[interval]}" for name, interval in columns]
    return parts(
        f"{found['replications']} logs of each regime. Share of lower / upper bounds that the true "
        f"value keeps; outside [{_LOW}, {_HIGH}] in bold.",
        table(["log", "ESS", *titles], rows),
        "Logs that each pre-check of the gate refuses:",
        _refused_table(found),
    )


_CHECKS = {
    "mean_weight_z": "mean weight is not 1",
    "ess": "ESS too small",
    "largest_share": "one request carries the estimate",
}


def _refused_table(found: Found) -> str:
    return table(
        ["log", *_CHECKS.values()],
        (
            [regime, *(f"{one['refused_by'][check]:.1%}" for check in _CHECKS)]
            for regime, one in found["coverage"].items()
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
        "refuse.",
        "`make bench-ope`",
        (
            Figure(
                "coverage of the bounds of DR and SNIPS, lower and upper",
                "within [.93, .99] at ESS of 200 and above on a sound log",
                _coverage_told,
                lambda f: [all(map(_inside, _sides(f, name))) for name in _intervals(f)],
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
