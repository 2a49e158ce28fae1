"""Which module reads which source."""

from __future__ import annotations

from pathlib import Path

from tessera.contracts.errors import BadInput
from tessera.stages.ingest import amazon, far_trans, market, movielens, table
from tessera.stages.ingest.draft import Drafts
from tessera.stages.ingest.engine import Engine
from tessera.stages.ingest.params import IngestParams

_READERS = {
    "market": market.drafts,
    "far_trans": far_trans.drafts,
    "movielens": movielens.drafts,
    "amazon": amazon.drafts,
    "table": table.drafts,
}


def drafts(folder: Path, engine: Engine, params: IngestParams) -> Drafts:
    """Read a source folder.

    Raises
    ------
    BadInput
        If the folder or one of its files is missing or unreadable.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder: name the one that holds the source's files")
    return _READERS[params.source](folder, engine, params)
