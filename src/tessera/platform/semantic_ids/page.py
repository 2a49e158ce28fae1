"""One page about a codebook: what each code means, and how well codes tell items apart.

Self-contained, offline, for paper and telephone too; equal runs give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tessera.contracts.pages import templates
from tessera.platform.semantic_ids.book import Book, read_book
from tessera.platform.workspace import files
from tessera.platform.workspace.params import Sections, load_params
from tessera.platform.workspace.paths import Workspace
from tessera.stages.ope.code_health import read_code_health
from tessera.stages.ope.forward_returns import codes_per_item
from tessera.stages.report import words

_TEMPLATE = "semantic_ids.html"
_ROWS = (
    ("used", "Codewords used", "{:.0f}"),
    ("usable", "of those that could be", "{:.0f}"),
    ("perplexity", "Perplexity", "{:.1f}"),
    ("distribution", "Effective codewords by use", "{:.1f}"),
    ("capacity_under_noise", "and under noise", "{:.1f}"),
    ("gini", "Gini of use", "{:.2f}"),
    ("error", "Left unexplained so far", "{:.1%}"),
    ("neighbours_kept", "Nearest 20 kept so far", "{:.0%}"),
    ("flip_rate", "Codes that move so far", "{:.1%}"),
    ("hit_rate", "Acquired together, alike so far", "{:.1%}"),
    ("hit_chance", "and by chance", "{:.1%}"),
)
"""Figures of a level: name in sid_health.json, what it is called, how it is written."""


def write_page(workspace: Workspace, page: Path) -> Path:
    """Write the page about the codes of the last run, and return where.

    Raises
    ------
    BadInput
        If `sid` did not run yet, or no file can be written there.
    """
    book = read_book(workspace)
    health = workspace.artifact("sid_health")
    checks = _checks(book, health, load_params(workspace))
    files.write_page(render(book, checks, workspace), page)
    return page


def render(book: Book, checks: Iterable[dict[str, Any]], workspace: Workspace) -> str:
    """Return the page."""
    return (
        templates("tessera.platform.semantic_ids")
        .get_template(_TEMPLATE)
        .render(
            profile=workspace.profile,
            health=book.health,
            book=book,
            size=len(book.counts[0]),
            checks=list(checks),
            figures=list(_figures(book)),
        )
    )


def _checks(book: Book, health: Path, params: Sections) -> Iterable[dict[str, Any]]:
    """Tell what the gate asks of codes, each with what was found."""
    found, ope = read_code_health(book.codes, health), params["ope"].model_dump()
    rows = (
        ("sid_capacity", codes_per_item(book.codes), "min_sid_capacity"),
        ("sid_collisions", found.collisions, "max_sid_collisions"),
        ("sid_use", found.use, "min_sid_use"),
        ("sid_told_apart", found.told_apart, "min_sid_told_apart"),
        ("sid_survival", found.survival, "min_sid_survival"),
    )
    for name, value, param in rows:
        limit, rule = ope[param], words.rule(name)
        least = param.startswith("min_")
        yield {
            "title": rule.title,
            "value": "unknown" if value is None else f"{value:.3f}",
            "wants": rule.wants.format(f"{limit:g}"),
            "ok": value is not None and (value >= limit if least else value <= limit),
        }


def _figures(book: Book) -> Iterable[tuple[str, list[str]]]:
    """Rows of the table of levels; a figure that no level has is left out."""
    levels = book.health["levels"]
    for name, title, form in _ROWS:
        values = [level.get(name) for level in levels]
        if any(value is not None for value in values):
            yield title, ["" if value is None else form.format(value) for value in values]
