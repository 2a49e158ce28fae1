"""The embedded market: Parquet files that the simulator wrote, already in contract columns."""

from __future__ import annotations

from pathlib import Path

import ibis
import pyarrow as pa

from tessera.contracts.errors import BadInput
from tessera.contracts.tables import EVENTS, EXPOSURES, ITEMS, OUTCOMES, PRICES, USERS
from tessera.ingest.draft import Draft, Drafts
from tessera.ingest.engine import FILE, Engine, check_parquet
from tessera.ingest.params import IngestParams


def drafts(folder: Path, engine: Engine, _params: IngestParams) -> Drafts:
    """Open the six files of a simulated market."""
    found = {}
    for table in (ITEMS, USERS, PRICES, EVENTS, EXPOSURES, OUTCOMES):
        path = folder / f"{table.name}.parquet"
        require_columns(check_parquet(path), table.names, path)
        rows = engine.read_numbered(path, f"raw_{table.name}")
        found[table.name] = Draft(rows.mutate(**{FILE: ibis.literal(path.name)}))
    return found


def require_columns(found: pa.Schema, wanted: list[str], path: Path) -> None:
    """Refuse a file without the columns we want.

    Raises
    ------
    BadInput
        Naming the missing columns and those found.
    """
    missing = [name for name in wanted if name not in found.names]
    if missing:
        raise BadInput(
            f"{path.name} lacks column {', '.join(missing)}: rename it; "
            f"found {', '.join(found.names)}"
        )
