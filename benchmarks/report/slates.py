"""Whether the bounds of the gate's panel hold for lifts of slates."""

from __future__ import annotations

from benchmarks.report.bounds import (
    DECIDING,
    ESS,
    HIGH,
    INTERVALS,
    LOW,
    cell,
    inside,
    refused_table,
    sides,
)
from benchmarks.report.page import NOTHING, Figure, Found, Section, parts, table

_COMMAND = "`make bench-ope`"
_BOUNDED = {
    "rips": "RIPS",
    "snrips": "SNRIPS",
    "dr": "cascade-DR",
    "switch_dr": "cascade-SWITCH",
    "iips": "IIPS",
}
_UNBOUNDED = {"dm": "reward model alone"}
_INTERACTING = "the item above matters"
_SEQUENCE = 0.95


def _sound(found: Found) -> list[tuple[str, Found]]:
    """Return the regimes in which bounds are asked to hold."""
    return [(name, one) for name, one in found["slates"].items() if one["ess"] >= ESS]


def _asked(found: Found, estimator: str, interval: str) -> list[float]:
    """Return the coverage of both sides wherever the estimator may be used."""
    return [
        share
        for regime, one in _sound(found)
        if not (estimator == "iips" and regime == _INTERACTING)
        for share in sides(one["estimators"][estimator][interval])
    ]


def _told(found: Found) -> str:
    if "slates" not in found:
        return ""
    told = []
    for estimator, name in _BOUNDED.items():
        shares = [s for interval in DECIDING for s in _asked(found, estimator, interval)]
        told.append(f"{name} {sum(map(inside, shares))} of {len(shares)}")
    return "bounds inside: " + ", ".join(told)


def _checks(found: Found) -> list[bool]:
    return [
        all(map(inside, _asked(found, estimator, interval)))
        for estimator in _BOUNDED
        for interval in DECIDING
    ]


def _sequence_sides(found: Found) -> list[float]:
    return [
        share
        for one in found.get("slates", {}).values()
        for share in sides(one["estimators"]["excess"]["sequence"])
    ]


def _sequence_told(found: Found) -> str:
    shares = _sequence_sides(found)
    return f"{min(shares):.3f} to {max(shares):.3f}" if shares else ""


def _tables(found: Found) -> str:
    if "slates" not in found:
        return f"Not run: {_COMMAND}."
    rows = []
    for regime, one in found["slates"].items():
        for estimator, name in (_BOUNDED | _UNBOUNDED).items():
            figures = one["estimators"][estimator]
            bounds = [cell(figures[interval]) for interval in INTERVALS]
            rows.append([regime, f"{one['ess']:.0f}", name, *_errors(figures), *bounds, NOTHING])
        decides = one["estimators"]["excess"]
        low_high = " / ".join(f"{share:.3f}" for share in sides(decides["sequence"]))
        fixed = [NOTHING] * len(INTERVALS)
        rows.append([regime, f"{one['ess']:.0f}", "the gate", *_errors(decides), *fixed, low_high])
    errors = ["bias", "RMSE"]
    return parts(
        f"{found['replications']} logs of each regime. Share of lower / upper bounds that the true "
        f"lift keeps; of the fixed-n ones, outside [{LOW}, {HIGH}] in bold.",
        table(["log", "ESS", "estimator", *errors, *INTERVALS.values(), "sequence"], rows),
        "True lifts: "
        + ", ".join(f"{regime} {one['truth']:+.4f}" for regime, one in found["slates"].items())
        + ".",
        "Logs that each pre-check of the gate refuses:",
        refused_table(found["slates"]),
    )


def _errors(figures: Found) -> list[str]:
    return [f"{figures['bias']:+.4f}", f"{figures['rmse']:.4f}"]


SECTIONS = (
    Section(
        "ope",
        "Bounds of slates on planted truth",
        "The same for the lift of a candidate over the policy that served, on slates of three "
        "positions: each estimator of the gate's panel on paired differences, item-position IPS, "
        "and the sequence that decides. cascade-SWITCH has the ceiling that the log chooses. The "
        "reward model says about a fifth too much and knows nothing of the item above; where that "
        "matters IIPS is biased and is not asked to hold. The interval of the reward model alone "
        "says nothing and is shown for comparison, as are normal bounds. The sequence holds at "
        "every look, so it is wider than one look asks.",
        _COMMAND,
        (
            Figure(
                "coverage of the bounds of slates, lower and upper",
                f"Hall and BCa within [.93, .99] at ESS of {ESS} and above",
                _told,
                _checks,
            ),
            Figure(
                "coverage of the sequence that decides on slates, lower and upper",
                "at least .95",
                _sequence_told,
                lambda f: [share >= _SEQUENCE for share in _sequence_sides(f)],
            ),
        ),
        _tables,
    ),
)
