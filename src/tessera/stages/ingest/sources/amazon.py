"""Amazon 2014 5-core: order is all there is, so each user's last event is held out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tessera.stages.ingest.source import Conventions

if TYPE_CHECKING:
    from tessera.stages.ingest.draft import Drafts
    from tessera.stages.ingest.engine import Engine
    from tessera.stages.ingest.params import IngestParams

CONVENTIONS = Conventions(
    timed=False,
    unknown_item_risk=1,  # goods bear none
    official=("*_datamaps.json*", "*.txt*"),
)


def drafts(folder: Path, engine: Engine, params: IngestParams) -> Drafts:
    """Read the sequence file, the maps of its numbers, and the item text."""
    from tessera.stages.ingest import amazon

    return amazon.drafts(folder, engine, params)
