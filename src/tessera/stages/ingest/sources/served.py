"""What the service showed, and what came of it, beside the files of the source it goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tessera.stages.ingest.source import Conventions

if TYPE_CHECKING:
    from tessera.stages.ingest.draft import Drafts
    from tessera.stages.ingest.engine import Engine
    from tessera.stages.ingest.params import IngestParams

CONVENTIONS = Conventions(goes_on=True)


def drafts(folder: Path, engine: Engine, params: IngestParams) -> Drafts:
    """Read `base`, the files of the source that the params name, and `served`, the log."""
    from tessera.stages.ingest import served

    return served.drafts(folder, engine, params)
