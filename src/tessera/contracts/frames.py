"""Frames of a person as tables of a contract, so that what is wrong with them is said at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa

from tessera.contracts.arrow import schema
from tessera.contracts.columns import Table
from tessera.contracts.errors import BadInput
from tessera.contracts.library_errors import first_line
from tessera.contracts.rules import first_broken, rules

Frame: TypeAlias = pd.DataFrame | pa.Table
"""Rows of a person: columns by name, in any order."""


def as_arrow(frame: Frame, name: str) -> pa.Table:
    """Return a frame as an Arrow table.

    Raises
    ------
    BadInput
        If it is none, or a column mixes types.
    """
    if isinstance(frame, pa.Table):
        return frame
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError, AttributeError) as error:
        raise BadInput(f"{name} is no frame that Arrow reads ({first_line(error)}): mend it"
        ) from error  # fmt: skip


def conform(
    frame: Frame, table: Table, absent: Mapping[str, object], *, repeats: bool = False
) -> ir.Table:
    """Return a frame with exactly the columns and types of a contract.

    Parameters
    ----------
    frame : Frame
        Columns that the contract does not know are left out; times without a zone are UTC.
    table : Table
        The contract.
    absent : mapping
        What stands in a column that the frame lacks; nullable ones are null without a word here.
    repeats : bool
        Let several rows have the same key, as whoever reads them counts them.

    Raises
    ------
    BadInput
        If a column is missing, a value does not fit its type or breaks a rule, or a key repeats.
    """
    rows = _typed(as_arrow(frame, table.name), table, absent)
    if len(rows) < table.min_rows:
        raise BadInput(f"{table.name} has no row: give it some")
    found = ibis.memtable(rows)
    reasons = found.select(reason=first_broken(rules(table), found))
    broken = reasons.drop_null("reason").to_pyarrow()["reason"]
    if len(broken):
        raise BadInput(
            f"{table.name}: {len(broken)} of {len(rows)} rows break a rule, such as "
            f"{broken[0].as_py()}: mend or drop them"
        )
    key = list(table.key)
    if not repeats and key and rows.select(key).group_by(key).aggregate([]).num_rows < len(rows):
        raise BadInput(
            f"{table.name}: several rows have the same {', '.join(key)}: drop all but one"
        )
    return found


def _typed(rows: pa.Table, table: Table, absent: Mapping[str, object]) -> pa.Table:
    missing = [
        column.name
        for column in table.columns
        if not (column.nullable or column.name in absent or column.name in rows.column_names)
    ]
    if missing:
        raise BadInput(f"{table.name} has no column {', '.join(missing)}: add it")
    columns = {}
    for field in schema(table):
        if field.name not in rows.column_names:
            scalar = pa.scalar(absent.get(field.name), field.type)
            columns[field.name] = pa.repeat(scalar, len(rows))
            continue
        try:
            columns[field.name] = rows[field.name].cast(field.type)
        except pa.ArrowException as error:
            said = first_line(error)
            raise BadInput(
                f"{table.name}: column {field.name} should hold {field.type} ({said}): convert it"
            ) from error
    return pa.table(columns)
