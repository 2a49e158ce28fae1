"""The embedded market: it writes all six tables, and knows what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tessera.stages.ingest.source import Conventions

if TYPE_CHECKING:
    from tessera.stages.ingest.draft import Drafts
    from tessera.stages.ingest.engine import Engine
    from tessera.stages.ingest.params import IngestParams

CONVENTIONS = Conventions()


def drafts(folder: Path, engine: Engine, params: IngestParams) -> Drafts:
    """Open the six files of a simulated market."""
    from tessera.stages.ingest import market

    return market.drafts(folder, engine, params)
