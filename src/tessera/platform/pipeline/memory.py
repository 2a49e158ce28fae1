"""What memory a stage will take, said before it starts, by how it grew where it was measured."""

from __future__ import annotations

from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq

from tessera.platform.workspace.catalogue import Stage
from tessera.platform.workspace.paths import Workspace


@dataclass(frozen=True, slots=True)
class Growth:
    """How the memory of a stage grows with the rows of a table that it reads."""

    table: str
    rows: int
    """Of the largest that was measured."""
    heap_mb: float
    """There; files that are mapped do not count, since the system takes them back."""
    exponent: float
    """Ten times the rows take so many powers of ten."""
    lifts: str
    """What makes it less."""

    def heap_at(self, rows: int) -> float:
        """Return MB at so many rows; below what was measured, those that were.

        >>> Growth("events", 1_000, 100.0, 0.5, "").heap_at(100_000)
        1000.0
        """
        return self.heap_mb * float(max(rows / self.rows, 1.0) ** self.exponent)


_EVENTS, _SHOWN = 5_884_256, 10_560_000
GROWTH = {
    "causal": Growth("events", _EVENTS, 1187, 0.78, "raise causal.least_support"),
    "graph": Growth("events", _EVENTS, 603, 0.61, "raise graph.least_support"),
    "hstu": Growth("events", _EVENTS, 3461, 0.44, "lower hstu.length"),
    "ope": Growth("exposures", _SHOWN, 5107, 0.66, "judge fewer days (a later --cut)"),
}
"""By `python -m benchmarks.scale`.  Stages that grow by less are left out, and so is `ingest`: its
engine goes to the disk."""


def too_little(stage: Stage, workspace: Workspace) -> str | None:
    """Say in one line that a stage will hardly have memory enough, and what lifts it; else None."""
    growth = GROWTH.get(stage.name)
    path = workspace.artifact(growth.table) if growth else None
    if growth is None or path is None or not path.exists():
        return None
    try:
        rows = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowInvalid):
        return None  # the stage says what is wrong with it
    free_mb = psutil.virtual_memory().available / 2**20
    heap_mb = growth.heap_at(rows)
    if heap_mb < free_mb:
        return None
    return (
        f"{stage.name}: {rows:,} {growth.table} take about {heap_mb / 1024:.1f} GB of memory "
        f"({growth.heap_mb / 1024:.1f} GB at {growth.rows:,}, measured), and "
        f"{free_mb / 1024:.1f} GB are free: it may be killed; {growth.lifts}, or more memory"
    )
