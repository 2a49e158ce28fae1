"""Any CSV or Parquet files, by a mapping of columns in the params."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import ibis
import ibis.expr.types as ir

from tessera.contracts.errors import BadInput
from tessera.contracts.tables import ITEMS, TABLES
from tessera.stages.ingest.casts import Role
from tessera.stages.ingest.columnar import is_parquet, read_parquet
from tessera.stages.ingest.columns import ALWAYS, ColumnMapping
from tessera.stages.ingest.convert import convert
from tessera.stages.ingest.draft import Draft, Drafts
from tessera.stages.ingest.engine import Engine
from tessera.stages.ingest.evenly import drawn
from tessera.stages.ingest.find import find, listed
from tessera.stages.ingest.layout import Layout
from tessera.stages.ingest.params import IngestParams, TableMapping
from tessera.stages.ingest.raw import NUMBER, Lines, read_lines
from tessera.stages.ingest.shape import PLACE, Shaper

_LOG = logging.getLogger(__name__)
_DIGITS = 12
_PLACES = 5
_NUMBERED = {
    "events": "event_id",
    "exposures": "request_id",
    "outcomes": "request_id",
    "queries": "query_id",
}
"""What rows are called by their number if the mapping says nothing."""
_DEFAULTS = {"events": {"time_kind": "exact"}, "users": {"valid_from": ALWAYS}}
"""What a row is taken for if the mapping says nothing."""
_STRENGTH: tuple[Role, ...] = ("id", "text", "whole", "any")
"""A column of the file that two of ours come from is read as the first of these."""


def drafts(folder: Path, engine: Engine, params: IngestParams) -> Drafts:
    """Read each mapped table."""
    found: Drafts = {}
    for name, mapping in sorted(params.mapping.items(), key=lambda pair: pair[0] != ITEMS.name):
        found[name] = _draft(name, mapping, folder, engine, found)
    return found


def _draft(name: str, mapping: TableMapping, folder: Path, engine: Engine, before: Drafts) -> Draft:
    lines = _lines(name, mapping, folder, engine)
    shaper = Shaper(mapping.only, mapping.each, mapping.joined)
    rows = convert(TABLES[name], mapping, lines.rows, engine, shaper)
    counts = replace(lines.counts, left_out=shaper.left_out, split=shaper.split)
    if mapping.evenly:
        rows = drawn(rows, before[ITEMS.name].rows, mapping.evenly, engine)
    if mapping.distinct:
        rows = _first_of_each(rows, list(TABLES[name].key))
    constants = {
        column: ibis.literal(text)
        for column, text in (_DEFAULTS.get(name, {}) | mapping.constants).items()
        if column not in mapping.columns
    }
    numbered = _NUMBERED.get(name)
    if numbered and numbered not in (*rows.columns, *constants):
        constants[numbered] = _numbers(rows)
    if name == ITEMS.name and "name" not in (*rows.columns, *constants):
        constants["name"] = rows.item_id
    return Draft(
        rows.mutate(**constants).drop(*({NUMBER, PLACE} & {*rows.columns})),
        lines.rejected,
        counts=None if mapping.distinct else counts,
        source_names=mapping.theirs,
        should_hold=_should_hold(mapping),
    )


def _numbers(rows: ir.Table) -> ir.StringValue:
    """Call rows by their number over all files; several of one record by their place in it."""
    number = rows[NUMBER].cast("string").lpad(_DIGITS, "0")
    if PLACE not in rows.columns:
        return number
    return number + "-" + rows[PLACE].cast("string").lpad(_PLACES, "0")


def _first_of_each(rows: ir.Table, key: list[str]) -> ir.Table:
    """Keep the first row of each key that the file says; the others tell nothing new."""
    same = ibis.window(
        group_by=[name for name in key if name in rows.columns],
        order_by=[NUMBER, *({PLACE} & {*rows.columns})],
    )
    numbered = rows.mutate(_place=ibis.row_number().over(same))
    return numbered.filter(numbered._place == 0).drop("_place")


def _should_hold(mapping: TableMapping) -> dict[str, str]:
    """Say what the times of a mapping look like, for a file in which none does."""
    told = {}
    for name, column in mapping.columns.items():
        if column.format:
            told[name] = f"times like {' or '.join(column.format)}"
        if column.unit:
            told[name] = f"times in {column.unit} since 1970"
    return told


def _lines(name: str, mapping: TableMapping, folder: Path, engine: Engine) -> Lines:
    files = find(folder, mapping.file)
    roles = _roles(name, mapping)
    parquet = [is_parquet(file) for file in files]
    if all(parquet):
        lines = read_parquet(engine, files, roles, name)
    elif any(parquet):
        raise BadInput(f"{name}: {listed(files)} are Parquet and text: name files of one format")
    else:
        lines = read_lines(engine, files, _layout(mapping, roles), name)
    if unused := [column for column in lines.found if column not in roles]:
        named = ", ".join(column or "a column without a name" for column in unused)
        _LOG.warning("%s: not mapped: %s", listed(files), named)
    return lines


def _roles(name: str, mapping: TableMapping) -> dict[str, Role]:
    """Say of each column of the file what it is for."""
    found: dict[str, Role] = {}
    dtypes = {column.name: column.dtype for column in TABLES[name].columns}
    for ours, column in mapping.columns.items():
        role = _role(ours, dtypes.get(ours), column)
        found[column.from_] = min(role, found.get(column.from_, role), key=_STRENGTH.index)
    for looked_at in Shaper(mapping.only, mapping.each, mapping.joined).columns:
        found.setdefault(looked_at, "any")
    return {name: role for name, role in found.items() if name not in mapping.joined}


def _role(column: str, dtype: str | None, how: ColumnMapping) -> Role:
    if how.values is not None:
        return "any"
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
