"""One Arrow schema and one writer for every table, so that equal rows give equal bytes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tessera.contracts.columns import Dtype, Table

_ARROW: dict[Dtype, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "strings": pa.list_(pa.string()),
    "floats": pa.list_(pa.float64()),
    "ints": pa.list_(pa.int64()),
}
_ROW_GROUP = 1_000_000
DAY_US = 86_400_000_000
"""A day in the unit of every timestamp."""


def schema(table: Table) -> pa.Schema:
    """Arrow schema of a table, columns in contract order."""
    return pa.schema(
        [pa.field(column.name, _ARROW[column.dtype], column.nullable) for column in table.columns]
    )


def write_table(rows: pa.Table | pa.RecordBatchReader, table: Table, path: Path) -> None:
    """Write rows as Parquet with exactly the columns and types of the contract.

    Parameters
    ----------
    rows : pa.Table or pa.RecordBatchReader
        Columns in any order; extra columns are dropped, types cast safely.
    table : Table
        Contract to follow.
    path : Path
        File to write; the caller owns atomicity.

    Raises
    ------
    pa.ArrowInvalid
        If a value does not fit the type of its column.
    KeyError
        If a column is missing.
    """
    target = schema(table)
    batches = rows.to_batches(_ROW_GROUP) if isinstance(rows, pa.Table) else rows
    with pq.ParquetWriter(path, target, compression="zstd") as writer:
        for batch in batches:
            columns = [batch.column(batch.schema.get_field_index(f.name)).cast(f.type)
                       for f in target]  # fmt: skip
            writer.write_table(pa.Table.from_arrays(columns, schema=target), _ROW_GROUP)
