"""What a day alarms about: one alarm for each cause, which is a family of series and a slice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from tessera.contracts.series import Point
from tessera.platform.watching.rules import PAGE, Family, Rules

_CAUSE = 8
"""Hexadecimal digits that name a cause."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """What one day says of one cause."""

    day: date
    family: str
    slice: str
    rule: Family
    owner: str
    points: tuple[Point, ...]
    """The series that alarm, the surest first."""

    @property
    def cause(self) -> str:
        """Name of the cause, the same on every day."""
        return cause_of(self.family, self.slice)

    @property
    def id(self) -> str:
        """Name of the alarm: the day and the cause."""
        return f"{self.day}-{self.cause}"

    @property
    def says(self) -> str:
        """What alarms, in one line."""
        first, more = told(self.points[0]), len(self.points) - 1
        whole = "" if self.slice == "all" else f" for {self.slice}"
        return f"{first}{whole}{f', and {more} more series' if more else ''}"

    def facts(self) -> dict[str, Any]:
        """Lay out for the record what alarms, and whose it is."""
        return {
            "kind": "alarm",
            "id": self.id,
            "day": self.day.isoformat(),
            "cause": self.cause,
            "family": self.family,
            "slice": self.slice,
            "severity": self.rule.severity,
            "owner": self.owner,
            "runbook": f"{PAGE}#{self.rule.runbook}",
            "says": self.says,
            "evidence": [_shown(one) for one in self.points],
        }


def cause_of(family: str, slice_: str) -> str:
    """Return the name of a cause.

    >>> cause_of("drift", "all") == cause_of("drift", "all") != cause_of("drift", "arm=canary")
    True
    """
    return hashlib.sha256(f"{family}\0{slice_}".encode()).hexdigest()[:_CAUSE]


def group(day: date, points: Iterable[Point], rules: Rules) -> list[Alarm]:
    """Make one alarm of all series of a family and slice; what is hidden never alarms."""
    found: dict[tuple[str, str], list[Point]] = {}
    for one in points:
        if one.alarm and not one.hidden:
            found.setdefault((rules.family_of(one.series), one.slice), []).append(one)
    order = list(rules.families)
    return [
        _alarm(day, family, slice_, found[family, slice_], rules)
        for family, slice_ in sorted(found, key=lambda one: (order.index(one[0]), one[1]))
    ]


def told(point: Point) -> str:
    """Say what a series is and should be.

    >>> told(Point("click_rate", "all", 0.031, 0.028, 0.034, threshold=0.04, side="below"))
    'click_rate is 0.031 (0.028 to 0.034), bad below 0.04'
    """
    within = "" if point.low is None else f" ({number(point.low)} to {number(point.high)})"
    limit = "" if point.threshold is None else f", bad {point.side} {number(point.threshold)}"
    return f"{point.series} is {number(point.value)}{within}{limit}"


def number(value: float | None) -> str:
    """Write a figure with three digits that count.

    >>> number(0.03125), number(1234567.0), number(12.0), number(None)
    ('0.0312', '1,234,567', '12', '-')
    """
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _alarm(day: date, family: str, slice_: str, points: list[Point], rules: Rules) -> Alarm:
    rule = rules.families[family]
    surest = sorted(
        points, key=lambda one: (1.0 if one.p_value is None else one.p_value, one.series)
    )
    return Alarm(day, family, slice_, rule, rule.owner or rules.owner, tuple(surest))


def _shown(point: Point) -> dict[str, Any]:
    return {name: value for name, value in asdict(point).items() if name not in ("alarm", "hidden")}
