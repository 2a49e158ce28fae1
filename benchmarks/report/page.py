"""What a page of results is made of: sections whose words are templates, and what is asked."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from benchmarks.report.names import called

TEMPLATES = Path(__file__).parents[1] / "templates"
Found = dict[str, Any]
"""The figures of one result; under `beside` the whole other result that they are laid beside."""

NOTHING, NOT_RUN = "—", "not run"
WORDS = ("yes", "partly", "no", NOT_RUN, NOTHING)
"""How far what was asked holds."""


@dataclass(frozen=True, slots=True)
class Section:
    """What one benchmark measures: a template of words, and what Python picks for it."""

    template: str
    checks: Mapping[str, Callable[[Found], list[bool]]] = field(default_factory=dict)
    """Figure that the template names -> one answer for each thing asked of it."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """What the template may call or look up beside the figures `f`."""
    result: str = ""
    """Name of its file in results/; that of the template if there is none."""
    beside: str | None = None
    """Another result that the tables lay this one beside."""

    @property
    def record(self) -> str:
        """Name of its file in results/."""
        return self.result or self.template


class Row(NamedTuple):
    """One thing that was asked, a row of the summary."""

    name: str
    asked: str
    measured: str
    holds: str
    section: str
    key: str | None


def figures_of(section: Section, results: Found) -> Found | None:
    """Return what a section tells, or nothing if it was never run."""
    if section.record not in results:
        return None
    found: Found = results[section.record]["figures"]
    return found | ({"beside": results[section.beside]} if section.beside in results else {})


def rows_of(section: Section, results: Found) -> list[Row]:
    """Return the rows of the summary that a section has."""
    rows: list[Row] = []
    _fill(section, results, summary=True, rows=rows)
    return rows


def text_of(section: Section, results: Found) -> str:
    """Return a section as Markdown."""
    return _fill(section, results, summary=False)


def _fill(section: Section, results: Found, **more: Any) -> str:
    found, record = figures_of(section, results), results.get(section.record, {})
    template = ENVIRONMENT.get_template(f"{section.template}.md")
    given = dict(section.given) | {"f": found, "record": record, "section": section}
    return tidy(template.render(given | more))


def tidy(text: str) -> str:
    """Leave one blank line between what follows each other; what is empty left more."""
    return re.sub(r"\n{3,}", "\n\n", text).strip()


@pass_context
def _figure(
    context: Context, name: str, asked: str, key: str | None = None, *, caller: Callable[[], str]
) -> str:
    """Add a row to the summary; what the template says of it is read only if it was measured."""
    found, title = context["f"], context["title"]
    told = caller().strip() if found is not None else ""
    holds = NOT_RUN if not told else said(context["section"].checks[key](found) if key else [])
    link = f"[{title}](#{anchor(title)})"
    context["rows"].append(Row(name, asked, told or NOT_RUN, holds, link, key))
    return ""


def said(checks: list[bool]) -> str:
    """Say in one word how much of what was asked is met."""
    if not checks:
        return NOTHING
    return "yes" if all(checks) else "partly" if any(checks) else "no"


def anchor(title: str) -> str:
    """Return the anchor that a heading gets on GitHub."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def bold(text: str, when: bool) -> str:
    """Set in bold what a reader should not miss."""
    return f"**{text}**" if when else text


def interval(bounds: Found | Sequence[float], digits: int = 4) -> str:
    """Tell two bounds: a pair, or what has `low` and `high`."""
    low, high = (bounds["low"], bounds["high"]) if isinstance(bounds, dict) else bounds
    return f"[{low:.{digits}f}, {high:.{digits}f}]"


def lead(one: Found | None) -> str:
    """Tell a difference and its interval, if there is one."""
    return f"{one['mean']:+.4f} {interval(one)}" if one else ""


def spread(values: Sequence[float], digits: int = 4) -> str:
    """Tell the mean, and the range where the values differ; nothing if there is none."""
    if not values:
        return ""
    low, high = (f"{x:.{digits}f}" for x in (min(values), max(values)))
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if low == high else f"{mean} ({low} to {high})"


def seeds(found: Sized) -> str:
    """Count seeds."""
    return f"{len(found)} seed" + "s" * (len(found) > 1)


def row(cells: Iterable[object]) -> str:
    """Lay cells beside each other as a row of a table."""
    return "| " + " | ".join(map(str, cells)) + " |"


def head(titles: Sequence[str]) -> str:
    """Begin a table."""
    return f"{row(titles)}\n{row(['---'] * len(titles))}"


ENVIRONMENT = Environment(
    loader=FileSystemLoader(TEMPLATES),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.globals |= {"figure": _figure, "head": head, "row": row, "NOTHING": NOTHING}
ENVIRONMENT.filters |= {
    "fmt": lambda value, spec=".4f": "" if value == "" else format(value, spec),
    "mean": statistics.fmean,
    **{one.__name__: one for one in (bold, called, interval, lead, seeds, spread)},
}
