"""What ingest made of a source, on one small table: rows, what was set aside and why, joins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tessera.contracts.artifacts import ARTIFACTS
from tessera.contracts.tables import TABLES
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace

QUARANTINE = ARTIFACTS["quarantine"].filename
_JOIN = "coverage_"
_REASONS = 3
_WIDTH = 100
_LOW = 0.95


def refused(workspace: Workspace) -> Path:
    """File that holds what was set aside by an ingest that stopped."""
    return workspace.data / "refused" / "quarantine.csv"


def keep_refused(workspace: Workspace, staging: Path) -> Path | None:
    """Keep the quarantine of an ingest that stopped, for whoever must mend the source."""
    written = staging / QUARANTINE
    if not written.exists():
        return None
    aside = staging / "quarantine.csv"
    pa_csv.write_csv(pq.read_table(written), aside)
    files.move_into_place(aside, refused(workspace))
    return refused(workspace)


def show_ingest(
    quarantine: Path, metrics: Mapping[str, float], console: Console | None = None
) -> None:
    """Print rows in, good and quarantined by reason of each table, then the joins.

    Parameters
    ----------
    quarantine : Path
        Parquet or CSV of what was set aside.
    metrics : mapping
        As the stage returned them, or `LostRows.metrics`.
    console : Console, optional
        Where to print.
    """
    out = console or Console(width=_WIDTH)
    why = _reasons(quarantine)
    table = Table("table", "rows in", "good", "quarantined", "because")
    for column in table.columns[1:4]:
        column.justify = "right"
    for name in TABLES:
        if f"{name}_in" in metrics:
            counts = (metrics[f"{name}_{what}"] for what in ("in", "good", "quarantined"))
            table.add_row(name, *(f"{count:,.0f}" for count in counts), why.get(name, ""))
    out.print(table)
    if told := [_join(key, share) for key, share in metrics.items() if key.startswith(_JOIN)]:
        out.print(f"joins: {', '.join(told)}")


def _join(key: str, share: float) -> str:
    left, right = key.removeprefix(_JOIN).split("_")
    text = f"{left} in {right} {_percent(share)}"
    return f"[bold red]{text}[/]" if share < _LOW else text


def _percent(share: float) -> str:
    """Never round to 100 % what is less."""
    return "100 %" if share == 1 else f"{min(share, 0.9999):.2%}".replace("%", " %")


def _reasons(quarantine: Path) -> dict[str, str]:
    """Say the commonest reasons of each table."""
    if not quarantine.exists():
        return {}
    csv = quarantine.suffix == ".csv"
    rows = pa_csv.read_csv(quarantine, parse_options=_LINES) if csv else pq.read_table(quarantine)
    counted = rows.group_by(["table", "reason"]).aggregate([([], "count_all")]).to_pylist()
    counted.sort(key=lambda row: (-row["count_all"], row["reason"]))
    found: dict[str, list[str]] = {}
    for row in counted:
        found.setdefault(row["table"], []).append(
            f"{row['count_all']:,} {escape(str(row['reason']))}"
        )
    return {
        name: "; ".join(told[:_REASONS])
        + (f"; {len(told) - _REASONS} more" * (len(told) > _REASONS))
        for name, told in found.items()
    }


_LINES = pa_csv.ParseOptions(newlines_in_values=True)
