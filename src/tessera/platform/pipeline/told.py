"""What a scheduler's log says of a step: rows, metrics, and where its page is."""

from __future__ import annotations

from pathlib import Path

from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace

_PAGES = {
    "ingest": "validation/index.html",
    "evaluate": "curves/ranking.png",
    "report": "verdict.html",
    "monitor": "watch/index.html",
}
"""What a person opens after a stage, below the folder of the profile."""


def told(workspace: Workspace, stage: str) -> list[str]:
    """Return the lines about the last run of a stage; none of the snapshot, which measures nothing.

    A stage that did not run again is told as it ran.
    """
    path = workspace.records / f"{stage}.json"
    if not path.exists():
        return []
    record = files.read_json(path)
    metrics = dict(record["metrics"])
    lines = [f"{stage}: {record['seconds']:g} s, started {record['started'][:19]} UTC"]
    if "rows_in" in metrics:
        lines.append(_rows(metrics))
    lines += [f"  {name} {value:.6g}" for name, value in sorted(metrics.items())]
    return [*lines, *_page(workspace, stage)]


def _rows(metrics: dict[str, float]) -> str:
    rows, lost = metrics.pop("rows_in"), metrics.pop("rows_quarantined", 0.0)
    return f"  {rows:,.0f} rows in, {rows - lost:,.0f} good, {lost:,.0f} quarantined"


def _page(workspace: Workspace, stage: str) -> list[str]:
    page: Path = workspace.data / _PAGES.get(stage, "")
    return [f"  page: {page.as_uri()}"] if stage in _PAGES and page.exists() else []
