"""The three pictures of a verdict as SVG that stands inside a page: no file beside it, no script.

Text stays text, so that it can be searched, zoomed and read out; what a picture shows also stands
in words or in a table next to it.  Equal numbers give equal bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from html import escape

from matplotlib import rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK, SOFT, LINE, BLUE, ORANGE = "#1d2530", "#55606e", "#d5dbe2", "#1c5d99", "#a04d00"
_WIDTH = 5.4
"""Inches at 72 units: wide enough for a column, and its text still legible on a telephone."""
_LABEL = 26
"""Letters of a label; the table beside the picture has them all."""
_STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": INK,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True, slots=True)
class Estimate:
    """One line of a forest plot; without bounds it is drawn as a hollow point."""

    label: str
    mean: float | None
    lower: float | None
    upper: float | None
    decides: bool = False


def forest(rows: Sequence[Estimate], says: str, axis: str) -> str:
    """Draw estimates with their intervals around a line at zero, first row on top."""
    left, right = _reach(rows)
    with _style(says):
        figure, axes = _canvas(0.3 * len(rows) + 0.75)
        for place, row in enumerate(rows):
            _estimate(axes, place, row)
            for edge, past, arrow in ((left, row.lower, "<"), (right, row.upper, ">")):
                if past is not None and not left <= past <= right:
                    axes.plot([edge], [place], arrow, color=_colour(row), clip_on=False)
        axes.set_xlim(left, right)
        axes.axvline(0, color=INK, linewidth=1, linestyle="--")
        axes.set_yticks(range(len(rows)), [_plain(row.label) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(axis)
        return _svg(figure, says)


def _reach(rows: Sequence[Estimate]) -> tuple[float, float]:
    """Span of the picture: all of the estimates, and of a bound far beyond them only a part."""
    plain = [v for r in rows if not r.decides for v in (r.mean, r.lower, r.upper) if v is not None]
    ends = [v for row in rows for v in (row.lower, row.upper) if v is not None]
    low, high = min([0.0, *plain]), max([0.0, *plain])
    room = max(high - low, 1e-6)
    left = max(low - room, min([low, *ends]))
    right = min(high + room, max([high, *ends]))
    pad = 0.04 * max(right - left, 1e-6)
    return left - pad, right + pad


def _colour(row: Estimate) -> str:
    return ORANGE if row.decides else BLUE


def _estimate(axes: Axes, place: int, row: Estimate) -> None:
    colour = _colour(row)
    face = "white"
    if row.lower is not None and row.upper is not None:
        face = colour
        axes.plot([row.lower, row.upper], [place, place], color=colour, linewidth=2.2)
        axes.plot([row.lower, row.upper], [place, place], "|", color=colour, markersize=7)
    if row.mean is not None:
        axes.plot([row.mean], [place], "o", color=colour, markerfacecolor=face, markersize=5.5)


def sequence(path: Mapping[str, Sequence[float]], says: str, axis: str) -> str:
    """Draw both bounds of the lift after each request; the first, very wide ones are cut off."""
    requests, lower, upper = (list(path[name]) for name in ("requests", "lower", "upper"))
    with _style(says):
        figure, axes = _canvas(2.75)
        axes.fill_between(requests, lower, upper, color=BLUE, alpha=0.12, linewidth=0)
        axes.plot(requests, upper, color=BLUE, linewidth=1.6, linestyle=(0, (5, 2)))
        axes.plot(requests, lower, color=ORANGE, linewidth=2)
        axes.axhline(0, color=INK, linewidth=1, linestyle="--")
        axes.set_ylim(*_window(lower, upper))
        axes.set_xlim(0, requests[-1] * 1.02)
        for bound, name, side in ((upper, "upper bound", "bottom"), (lower, "lower bound", "top")):
            axes.annotate(name, (requests[-1], bound[-1]), (0, 4 if side == "bottom" else -5),
                          textcoords="offset points", ha="right", va=side)  # fmt: skip
        axes.set_xlabel("requests seen so far")
        axes.set_ylabel(axis)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        return _svg(figure, says)


def _window(lower: Sequence[float], upper: Sequence[float]) -> tuple[float, float]:
    """Show zero and where the bounds end, with room for where they came from."""
    low, high = min(lower[-1], 0.0), max(upper[-1], 0.0)
    room = max((high - low) * 0.75, 1e-6)
    return max(low - room, min(*lower, 0.0) - 1e-9), min(high + room, max(*upper, 0.0) + 1e-9)


def histogram(upper_edges: Sequence[float | None], counts: Sequence[int], says: str) -> str:
    """Draw how many requests have a weight in each range, smallest weights on top."""
    names, low = [], 0.0
    for edge in upper_edges:
        names.append(f"{low:g} and more" if edge is None else f"{low:g} to {edge:g}")
        low = edge or low
    total = max(sum(counts), 1)
    with _style(says):
        figure, axes = _canvas(0.27 * len(names) + 0.55)
        axes.barh(range(len(names)), counts, color=BLUE, height=0.68)
        for place, count in enumerate(counts):
            axes.annotate(f"{count:,} ({_share(count / total)})", (count, place), (4, 0),
                          textcoords="offset points", va="center")  # fmt: skip
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(0, max(*counts, 1) * 1.42)
        axes.tick_params(axis="y", length=0)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_xlabel("requests by weight")
        return _svg(figure, says)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a trend."""

    label: str
    values: Sequence[float]


_TONES = (BLUE, SOFT, ORANGE, INK)
_STROKES = ("-", (0, (2, 2)), (0, (5, 2)), (0, (1, 1)))


def trend(
    days: Sequence[float],
    lines: Sequence[Line],
    says: str,
    axis: str,
    *,
    marks: Mapping[float, str],
    change: float | None,
) -> str:
    """Draw lines over days, each named at its end; marks stand where something was published.

    `change` is when something happened; the days from then on are shaded.
    """
    with _style(says):
        figure, axes = _canvas(2.9)
        for line, tone, stroke in zip(lines, _TONES, _STROKES, strict=False):
            axes.plot(days, line.values, color=tone, linestyle=stroke, linewidth=1.8,
                      label=_plain(line.label))  # fmt: skip
        for day, name in marks.items():
            if days[0] <= day <= days[-1]:
                axes.axvline(day, color=LINE, linewidth=1, zorder=0)
                axes.annotate(name, (day, 1), (2, -2), xycoords=("data", "axes fraction"),
                              textcoords="offset points", va="top", color=SOFT)  # fmt: skip
        if change is not None:
            axes.axvspan(change, days[-1], color=ORANGE, alpha=0.07, linewidth=0, zorder=0)
        axes.set_xlabel("day")
        axes.set_ylabel(axis)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid(axis="y", color=LINE, linewidth=0.6)
        if len(lines) > 1:
            figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
        return _svg(figure, says)


def _share(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else "< 1 %"


def _style(says: str) -> AbstractContextManager[None]:
    """Forget what libraries did to the style; equal pictures of one page need ids of their own."""
    return rc_context({**rcParamsDefault, **_STYLE, "svg.hashsalt": says})


def _canvas(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.add_subplot()


def _plain(label: str) -> str:
    """Leave room for the picture, and keep what matplotlib would read as mathematics as it is."""
    short = label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…"
    return short.replace("$", r"\$")


def _svg(figure: Figure, says: str) -> str:
    """Return the bare element: no prologue, no size of its own, no id that another one may have."""
    figure.patch.set_visible(False)
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    box = re.search(r'viewBox="[^"]+"', text)
    assert box is not None
    inner = re.sub(r"<style.*?</style>", "", text[text.index(">") + 1 :], flags=re.DOTALL)
    wanted = set(re.findall(r'#([\w-]+)[")]', inner))
    inner = re.sub(
        r' id="([^"]+)"', lambda found: found.group() if found[1] in wanted else "", inner
    )
    name = escape(says, quote=True)
    return f'<svg {box.group()} role="img" aria-label="{name}">{inner}'
