"""Any CSV or Parquet files, by a mapping of columns in the params."""

from __future__ import annotations

from pathlib import Path

import ibis
import ibis.expr.types as ir

from tessera.contracts.tables import EVENTS, TABLES
from tessera.ingest.draft import Draft, Drafts
from tessera.ingest.engine import FILE, ROW, Engine, check_parquet
from tessera.ingest.market import require_columns
from tessera.ingest.params import IngestParams, TableMapping
from tessera.ingest.raw import Layout, Lines, find, read_lines

_DIGITS = 12
_KINDS = {"time_kind": "exact"}
"""What an event is taken for if the mapping says nothing."""


def drafts(folder: Path, engine: Engine, params: IngestParams) -> Drafts:
    """Read each mapped table."""
    return {name: _draft(name, mapping, folder, engine) for name, mapping in params.mapping.items()}


def _draft(name: str, mapping: TableMapping, folder: Path, engine: Engine) -> Draft:
    lines = _lines(name, mapping, folder, engine)
    raw = lines.rows
    chosen: dict[str, ir.Value] = {
        column: raw[theirs]
        for column, theirs in mapping.columns.items()
        if column in TABLES[name].names
    }
    constants = (_KINDS if name == EVENTS.name else {}) | mapping.constants
    for column, text in constants.items():
        chosen.setdefault(column, ibis.literal(text))
    if name == EVENTS.name:
        chosen.setdefault("event_id", raw[ROW].cast("string").lpad(_DIGITS, "0"))
    rows = raw.select(**chosen, **{FILE: raw[FILE], ROW: raw[ROW]})
    return Draft(rows, lines.rejected, source_names=mapping.columns)


def _lines(name: str, mapping: TableMapping, folder: Path, engine: Engine) -> Lines:
    wanted = tuple(dict.fromkeys(mapping.columns.values()))
    if not mapping.file.endswith(".parquet"):
        layout = Layout(wanted, delimiter=mapping.delimiter)
        return read_lines(engine, find(folder, mapping.file.removesuffix(".gz")), layout, name)
    path = folder / mapping.file
    require_columns(check_parquet(path), list(wanted), path)
    rows = engine.read_numbered(path, f"raw_{name}")
    return Lines(rows.mutate(**{FILE: ibis.literal(path.name)}), ())
