"""Any CSV or Parquet files, by a mapping of columns in the params."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tessera.stages.ingest.source import Conventions

if TYPE_CHECKING:
    from tessera.stages.ingest.draft import Drafts
    from tessera.stages.ingest.engine import Engine
    from tessera.stages.ingest.params import IngestParams

CONVENTIONS = Conventions(mapped=("events", "items"))


def drafts(folder: Path, engine: Engine, params: IngestParams) -> Drafts:
    """Read each mapped table."""
    from tessera.stages.ingest import table

    return table.drafts(folder, engine, params)
