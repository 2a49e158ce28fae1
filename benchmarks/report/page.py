"""What a page of results is made of: sections, figures that were asked for, tables."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import Any

Found = dict[str, Any]
"""The figures of one result; under `beside` the whole other result that they are laid beside."""

NOTHING, NOT_RUN = "—", "not run"
WORDS = ("yes", "partly", "no", NOT_RUN, NOTHING)
"""How far what was asked holds."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that was asked, a row of the summary."""

    name: str
    asked: str
    told: Callable[[Found], str]
    """The measured headline; empty if this figure is missing from the result."""
    checks: Callable[[Found], list[bool]] = lambda _: []
    """One answer for each thing asked; none where no threshold was asked."""


@dataclass(frozen=True, slots=True)
class Section:
    """What one benchmark measures, and how its result is told."""

    result: str
    """Name of its file in results/."""
    title: str
    what: str
    command: str
    figures: tuple[Figure, ...]
    tables: Callable[[Found], str]
    beside: str | None = None
    """Another result that the tables lay this one beside."""


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lay rows under their titles as markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def parts(*blocks: str) -> str:
    """Set paragraphs, tables and pictures below each other; empty ones are left out."""
    return "\n\n".join(block for block in blocks if block)


def holds(checks: list[bool]) -> str:
    """Say in one word how much of what was asked is met."""
    if not checks:
        return NOTHING
    return "yes" if all(checks) else "partly" if any(checks) else "no"


def anchor(title: str) -> str:
    """Return the anchor that a heading gets on GitHub."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def bold(text: str, *, when: bool) -> str:
    """Set in bold what a reader should not miss."""
    return f"**{text}**" if when else text


def interval(bounds: Sequence[float], digits: int = 4) -> str:
    """Tell two bounds."""
    return f"[{bounds[0]:.{digits}f}, {bounds[1]:.{digits}f}]"


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Tell the mean, and the range where the values differ."""
    low, high = (f"{x:.{digits}f}" for x in (min(values), max(values)))
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if low == high else f"{mean} ({low} to {high})"


def seeds(found: Sized) -> str:
    """Count seeds."""
    return f"{len(found)} seed" + "s" * (len(found) > 1)
