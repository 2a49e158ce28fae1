"""Series over weeks, as lines that a page can draw without any script.

Charts are 100 wide and 40 high and are stretched to whatever place there is; what must not be
stretched with them is drawn by strokes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

from tessera.contracts.series import ALL, Day, Point
from tessera.platform.watching.meanings import meaning

WIDTH, HEIGHT = 100.0, 40.0
_EDGE = 3.0
"""Free above and below, so that no stroke is cut."""
ARM = "arm="
_KINDS = ("champion", "canary", "challenger")
"""Arms in the order of their colours; others share the last."""
Dated = Mapping[date, Point]
"""Points of one series and slice."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart."""

    name: str
    kind: str
    """`whole`, or the arm."""
    path: str
    dots: str
    """Days without a neighbour, and the newest."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the investors or items, and how its series went."""

    name: str
    latest: Point
    path: str
    alarms: int
    """Days that alarmed."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One series."""

    series: str
    latest: Point
    """Of the newest day that has it."""
    on: date
    lines: list[Line]
    band: str
    limits: str
    """A stroke for the threshold of each day, which may move with the days before it."""
    alarms: str
    """A dot for each day that alarmed."""
    mondays: list[float]
    begins: list[float]
    """Where another version begins to answer."""
    bottom: float
    top: float
    slices: list[Slice]

    meaning: str
    was_judged: bool
    """Whether any day has a threshold."""
    has_two: bool
    """Whether it may be too large on one day and too small on another."""

    @property
    def is_beyond(self) -> bool:
        """Whether the newest value lies beyond its threshold, and that is not sure."""
        one = self.latest
        if one.value is None or one.threshold is None or one.alarm:
            return False
        return one.value > one.threshold if one.side == "above" else one.value < one.threshold

    @property
    def alarmed(self) -> bool:
        """Whether any day of any slice alarmed."""
        return bool(self.alarms) or any(one.alarms for one in self.slices)


def by_series(days: Iterable[Day]) -> dict[str, dict[str, Dated]]:
    """Read the points of some days by series, slice and day."""
    found: dict[str, dict[str, dict[date, Point]]] = {}
    for day in days:
        when = day.day
        for point in day.points():
            found.setdefault(point.series, {}).setdefault(point.slice, {})[when] = point
    return {name: {**slices} for name, slices in found.items()}


def chart(
    series: str,
    slices: Mapping[str, Dated],
    first: date,
    last: date,
    begins: Iterable[date] = (),
) -> Chart | None:
    """Draw a series, and where another version begins; None where no day may show it."""
    span = _Span(first, last, *_range(slices))
    whole = slices.get(ALL, {})
    lines = [_line("all", "whole", whole, span)] if _shown(whole) else []
    arms = [name for name in sorted(slices, key=_order) if name.startswith(ARM)]
    lines += [
        _line(name.removeprefix(ARM), _kind(name), slices[name], span)
        for name in arms
        if _shown(slices[name])
    ]
    newest = max((day for one in slices.values() for day in one), default=None)
    if not lines or newest is None:
        return None
    latest = whole.get(newest) or next(one[newest] for one in slices.values() if newest in one)
    return Chart(
        series,
        latest,
        newest,
        lines,
        _band(whole, span),
        _limits(whole, span),
        "".join(
            _dot(span.x(day), span.y(one.value))
            for day, one in sorted(whole.items())
            if one.alarm and one.value is not None
        ),
        list(span.mondays()),
        [span.x(day) for day in begins],
        span.bottom,
        span.top,
        [_slice(name, slices[name], span) for name in sorted(slices, key=_order) if name != ALL],
        meaning(series),
        any(one.threshold is not None for one in whole.values()),
        len({one.side for one in whole.values() if one.threshold is not None}) > 1,
    )


@dataclass(frozen=True, slots=True)
class _Span:
    """What a chart shows: days from left to right, values from below."""

    first: date
    last: date
    bottom: float
    top: float

    def x(self, day: date) -> float:
        days = max((self.last - self.first).days, 1)
        return WIDTH * (day - self.first).days / days

    def y(self, value: float) -> float:
        share = (value - self.bottom) / (self.top - self.bottom)
        return HEIGHT - _EDGE - share * (HEIGHT - 2 * _EDGE)

    def mondays(self) -> Iterable[float]:
        for ahead in range((self.last - self.first).days + 1):
            day = self.first + timedelta(days=ahead)
            if day.weekday() == 0:
                yield self.x(day)


def _range(slices: Mapping[str, Dated]) -> tuple[float, float]:
    """Return the least and largest of what is drawn large, and of the threshold."""
    large = [one for name, days in slices.items() if _is_large(name) for one in days.values()]
    values = [
        v for one in large for v in (one.value, one.low, one.high, one.threshold) if v is not None
    ]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
    return (low - room if low < 0 else max(low - room, 0.0)), high + room


def _is_large(name: str) -> bool:
    return name == ALL or name.startswith(ARM)


def _shown(days: Dated) -> list[tuple[date, float]]:
    return [(day, one.value) for day, one in sorted(days.items()) if one.value is not None]


def _line(name: str, kind: str, days: Dated, span: _Span) -> Line:
    shown = _shown(days)
    runs = _runs(shown)
    path = "".join(_path(run, span) for run in runs if len(run) > 1)
    alone = [run[0] for run in runs if len(run) == 1 or run is runs[-1]]
    dots = [*alone[:-1], shown[-1]]
    return Line(name, kind, path, "".join(_dot(span.x(day), span.y(value)) for day, value in dots))


def _runs(shown: Sequence[tuple[date, float]]) -> list[list[tuple[date, float]]]:
    """Part days where one is missing: a line over a gap would be made up.

    >>> days = [(date(2025, 1, n), 0.5) for n in (1, 2, 5)]
    >>> [len(run) for run in _runs(days)]
    [2, 1]
    """
    numbered = enumerate(shown)
    groups = groupby(numbered, key=lambda one: one[1][0].toordinal() - one[0])
    return [[day for _, day in group] for _, group in groups]


def _path(run: Sequence[tuple[date, float]], span: _Span) -> str:
    return "M" + "L".join(f"{span.x(day):.1f} {span.y(value):.1f}" for day, value in run)


def _dot(x: float, y: float) -> str:
    """Return a line of no length, which a round stroke makes a dot whatever the stretch."""
    return f"M{x:.1f} {y:.1f}h0"


def _band(days: Dated, span: _Span) -> str:
    """Return the outline of the intervals, a piece for each run of days that has them."""
    told = {day: one for day, one in days.items() if one.low is not None and one.high is not None}
    lows = [(day, one.low) for day, one in sorted(told.items()) if one.low is not None]
    pieces = []
    for run in _runs(lows):
        highs = [(day, told[day].high or 0.0) for day, _ in reversed(run)]
        pieces.append(_path(run, span) + _path(highs, span).replace("M", "L", 1) + "Z")
    return "".join(pieces)


def _limits(days: Dated, span: _Span) -> str:
    told = [(span.x(day), one.threshold) for day, one in sorted(days.items())]
    half = span.x(span.first + timedelta(days=1)) / 2
    return "".join(
        f"M{max(x - half, 0):.1f} {span.y(limit):.1f}H{min(x + half, WIDTH):.1f}"
        for x, limit in told
        if limit is not None
    )


def _slice(name: str, days: Dated, span: _Span) -> Slice:
    own = _Span(
        span.first, span.last, *_range({ALL: {day: _bare(one) for day, one in days.items()}})
    )
    path = "".join(
        _path(run, own) if len(run) > 1 else _dot(own.x(run[0][0]), own.y(run[0][1]))
        for run in _runs(_shown(days))
    )
    newest = days[max(days)]
    return Slice(name, newest, path, sum(one.alarm for one in days.values()))


def _bare(point: Point) -> Point:
    """Return a point without what a small chart does not draw."""
    return Point(point.series, point.slice, point.value)


def _order(name: str) -> tuple[int, str]:
    """Everybody first, then arms, then the rest by name."""
    return (0 if name == ALL else 1 if name.startswith(ARM) else 2, name)


def _kind(name: str) -> str:
    arm = name.removeprefix(ARM)
    return next((kind for kind in _KINDS if arm.startswith(kind)), _KINDS[-1])
