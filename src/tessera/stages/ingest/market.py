"""The embedded market: Parquet files that the simulator wrote, already in contract columns."""

from __future__ import annotations

from pathlib import Path

import ibis

from tessera.contracts.tables import (
    EVENTS,
    EXPOSURES,
    ITEMS,
    LINKS,
    OUTCOMES,
    PRICES,
    QUERIES,
    USERS,
)
from tessera.stages.ingest.draft import Draft, Drafts
from tessera.stages.ingest.engine import FILE, Engine, check_parquet
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.raw import require_columns

_OPTIONAL = (LINKS, QUERIES)


def drafts(folder: Path, engine: Engine, _params: IngestParams) -> Drafts:
    """Open the six files of a simulated market, and its links and queries if it has some."""
    found = {}
    for table in (ITEMS, USERS, PRICES, EVENTS, EXPOSURES, OUTCOMES, *_OPTIONAL):
        path = folder / f"{table.name}.parquet"
        if table in _OPTIONAL and not path.exists():
            continue
        require_columns(path.name, check_parquet(path).names, table.names)
        rows = engine.read_numbered(path, f"raw_{table.name}")
        found[table.name] = Draft(rows.mutate(**{FILE: ibis.literal(path.name)}))
    return found
