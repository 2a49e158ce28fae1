"""Lay the results beside the figures they must meet, in docs/benchmarks.md."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from benchmarks.common import RESULTS, ROOT
from benchmarks.report import (
    bounds,
    codes,
    codes_real,
    crowding,
    drift,
    gate,
    generate,
    house,
    indexes,
    inputs,
    investors,
    model,
    quality,
    queries,
    rolling,
    sentences,
    served,
    serving,
    sid,
    sizing,
    slates,
    sources,
    streams,
    uplift,
    watching,
)
from benchmarks.report.page import ENVIRONMENT, WORDS, rows_of, text_of, tidy

PAGE = ROOT / "docs" / "benchmarks.md"
SECTIONS = (
    *house.SECTIONS,
    *rolling.SECTIONS,
    *quality.SECTIONS,
    *model.SECTIONS,
    *codes.SECTIONS,
    *generate.SECTIONS,
    *sid.SECTIONS,
    *codes_real.SECTIONS,
    *inputs.SECTIONS,
    *crowding.SECTIONS,
    *investors.SECTIONS,
    *queries.SECTIONS,
    *sources.SECTIONS,
    *serving.SECTIONS,
    *indexes.SECTIONS,
    *served.SECTIONS,
    *streams.SECTIONS,
    *watching.SECTIONS,
    *sizing.SECTIONS,
    *sentences.SECTIONS,
    *uplift.SECTIONS,
    *bounds.SECTIONS,
    *slates.SECTIONS,
    *gate.SECTIONS,
    *drift.SECTIONS,
)


def render(results: Path = RESULTS, page: Path = PAGE) -> None:
    """Write the page; a figure without a result says so."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(results.glob("*.json"))}
    rows = [row for section in SECTIONS for row in rows_of(section, found)]
    words = Counter(row.holds for row in rows)
    text = ENVIRONMENT.get_template("page.md").render(
        rows=rows,
        count=", ".join(f"{words[word]} {word}" for word in WORDS if words[word]),
        sections=[text_of(section, found) for section in SECTIONS],
    )
    page.write_text(tidy(text) + "\n")


if __name__ == "__main__":
    render()
