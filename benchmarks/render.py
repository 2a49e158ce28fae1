"""Lay the results beside the figures they must meet, in docs/benchmarks.md."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, ROOT
from benchmarks.report import (
    bounds,
    drift,
    gate,
    house,
    model,
    quality,
    rolling,
    sentences,
    serving,
    slates,
    uplift,
    variants,
)
from benchmarks.report.page import (
    NOT_RUN,
    WORDS,
    Figure,
    Found,
    Section,
    anchor,
    holds,
    parts,
    table,
)

PAGE = ROOT / "docs" / "benchmarks.md"
SECTIONS = (
    *house.SECTIONS,
    *rolling.SECTIONS,
    *quality.SECTIONS,
    *variants.SECTIONS,
    *model.SECTIONS,
    *serving.SECTIONS,
    *sentences.SECTIONS,
    *uplift.SECTIONS,
    *bounds.SECTIONS,
    *slates.SECTIONS,
    *gate.SECTIONS,
    *drift.SECTIONS,
)
_HEAD = """# Benchmarks

What was asked of this repository, and what was measured. Rendered from `benchmarks/results/`, never
edited by hand. *Holds* is computed from the numbers: *partly* if some of what is asked holds, *—*
if no threshold was asked. Seconds are wall-clock on the machine named in the section."""


def render(results: Path = RESULTS, page: Path = PAGE) -> None:
    """Write the page; a figure without a result says so."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("*.json"))}
    rows = [
        [figure.name, figure.asked, *_measured(figure, _figures(section, found)), _link(section)]
        for section in SECTIONS
        for figure in section.figures
    ]
    words = Counter(row[3] for row in rows)
    count = ", ".join(f"{words[word]} {word}" for word in WORDS if words[word])
    summary = table(["figure", "asked", "measured", "holds", "section"], rows)
    sections = (_section(section, found) for section in SECTIONS)
    page.write_text(parts(_HEAD, f"{len(rows)} figures: {count}.", summary, *sections) + "\n")


def _figures(section: Section, results: dict[str, Any]) -> Found | None:
    """Return what a section tells, or nothing if it was never run."""
    if section.result not in results:
        return None
    found: Found = results[section.result]["figures"]
    return found | ({"beside": results[section.beside]} if section.beside in results else {})


def _measured(figure: Figure, found: Found | None) -> tuple[str, str]:
    told = figure.told(found) if found else ""
    return (told, holds(figure.checks(found))) if found and told else (NOT_RUN, NOT_RUN)


def _link(section: Section) -> str:
    return f"[{section.title}](#{anchor(section.title)})"


def _section(section: Section, results: dict[str, Any]) -> str:
    found, title = _figures(section, results), f"## {section.title}"
    if found is None:
        return parts(title, section.what, f"Not run: {section.command}.")
    one = results[section.result]
    on = "{processor}, {cores} cores, {memory_gb} GB".format_map(one["machine"])
    where = f"Measured on {on}; commit {one['commit']}; {one['day']}. Command: {section.command}."
    return parts(title, section.what, where, section.tables(found))


if __name__ == "__main__":
    render()
