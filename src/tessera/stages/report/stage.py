"""Entry of report: the page of a verdict, drawn from the verdict alone."""

from __future__ import annotations

from pathlib import Path

from tessera.stages.report.page import write_page


def run(*, verdict: Path, verdict_page: Path) -> dict[str, float]:
    """Draw the page of the verdict; an edit of its words judges nothing again."""
    write_page(verdict, verdict_page)
    return {}
