"""Any CSV or Parquet files, by a mapping of columns in the params."""

from __future__ import annotations

from pathlib import Path

import ibis
import ibis.expr.types as ir

from tessera.contracts.errors import BadInput
from tessera.contracts.tables import EVENTS, TABLES
from tessera.ingest.casts import Role
from tessera.ingest.columnar import is_parquet, read_parquet
from tessera.ingest.draft import Draft, Drafts
from tessera.ingest.engine import FILE, ROW, Engine
from tessera.ingest.find import find, listed
from tessera.ingest.layout import Layout
from tessera.ingest.params import IngestParams, TableMapping
from tessera.ingest.raw import NUMBER, Lines, read_lines

_DIGITS = 12
_KINDS = {"time_kind": "exact"}
"""What an event is taken for if the mapping says nothing."""
_STRENGTH: tuple[Role, ...] = ("id", "text", "whole", "any")
"""A column of the file that two of ours come from is read as the first of these."""


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
        chosen.setdefault("event_id", raw[NUMBER].cast("string").lpad(_DIGITS, "0"))
    rows = raw.select(**chosen, **{FILE: raw[FILE], ROW: raw[ROW]})
    return Draft(rows, lines.rejected, source_names=mapping.columns, counts=lines.counts)


def _lines(name: str, mapping: TableMapping, folder: Path, engine: Engine) -> Lines:
    files = find(folder, mapping.file)
    roles = _roles(name, mapping)
    parquet = [is_parquet(file) for file in files]
    if all(parquet):
        return read_parquet(engine, files, roles, name)
    if any(parquet):
        raise BadInput(f"{name}: {listed(files)} are Parquet and text: name files of one format")
    return read_lines(engine, files, _layout(mapping, roles), name)


def _roles(name: str, mapping: TableMapping) -> dict[str, Role]:
    """Say of each column of the file what it is for."""
    found: dict[str, Role] = {}
    dtypes = {column.name: column.dtype for column in TABLES[name].columns}
    for ours, theirs in mapping.columns.items():
        role = _role(ours, dtypes.get(ours))
        found[theirs] = min(role, found.get(theirs, role), key=_STRENGTH.index)
    return found


def _role(column: str, dtype: str | None) -> Role:
    if column.endswith(("_id", "_ids")):
        return "id"
    wanted: dict[str | None, Role] = {"string": "text", "int64": "whole", "ints": "whole"}
    return wanted.get(dtype, "any")


def _layout(mapping: TableMapping, roles: dict[str, Role]) -> Layout:
    return Layout(
        tuple(roles),
        header=mapping.header,
        delimiter=mapping.delimiter,
        quoted=mapping.quoted,
        quote=mapping.quote,
        escape=mapping.escape,
        encoding=mapping.encoding,
        comment=mapping.comment,
        skip_lines=mapping.skip_lines,
        ids=tuple(column for column, role in roles.items() if role == "id"),
    )
