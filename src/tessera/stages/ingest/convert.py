"""Read the columns of strangers' files as a mapping says, or refuse what cannot be told.

Values pass through Arrow once, in batches, so that every engine sees the same.  What a column shows
of another convention than the one it is read by is counted on the way: a column in doubt is refused
with the param that settles it, a single row that cannot be read goes to quarantine.
"""

from __future__ import annotations

from collections.abc import Sequence

import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.contracts.columns import Table
from tessera.contracts.rules import TEXT
from tessera.stages.ingest.draft import UNREAD
from tessera.stages.ingest.engine import FILE, ROW, Engine
from tessera.stages.ingest.kinds import reader_of
from tessera.stages.ingest.params import TableMapping
from tessera.stages.ingest.raw import NUMBER
from tessera.stages.ingest.shape import PLACE, Shaper
from tessera.stages.ingest.values import Reader

_PLACES = (FILE, ROW, NUMBER)


def convert(
    table: Table, mapping: TableMapping, raw: ir.Table, engine: Engine, shaper: Shaper
) -> ir.Table:
    """Return contract columns, `text_<column>` where a text was read, and what could not be.

    Parameters
    ----------
    table : Table
        Contract of the rows.
    mapping : TableMapping
        Which column comes from where, and how it is written.
    raw : ir.Table
        Columns of the file, `source_file`, `source_row`, `source_number`.
    engine : Engine
        Where the result is kept.
    shaper : Shaper
        Takes the rows that are meant; with `each` they have `source_place`.

    Raises
    ------
    BadInput
        If a column is written in a way that its mapping does not say and that cannot be told.
    """
    readers = [
        reader_of(table.name, column, mapping)
        for column in table.columns
        if column.name in mapping.columns
    ]
    path = engine.spill / f"read_{table.name}.parquet"
    named = [one for one in mapping.theirs.values() if one not in mapping.joined]
    theirs = dict.fromkeys([*named, *shaper.columns])
    batches = engine.batches(raw.select(*theirs, *_PLACES))
    empty = shaper.shape(pa.RecordBatch.from_pylist([], batches.schema))
    with batches, pq.ParquetWriter(path, _converted(empty, readers).schema) as writer:
        for batch in batches:
            writer.write_batch(_converted(shaper.shape(batch), readers))
    for reader in readers:
        reader.finish()
    return engine.read(path, f"read_{table.name}")


def _converted(batch: pa.RecordBatch, readers: Sequence[Reader]) -> pa.RecordBatch:
    found: dict[str, pa.Array] = {}
    faults: list[pa.Array] = [pa.nulls(batch.num_rows, pa.string())]
    for reader in readers:
        read = reader.read(batch.column(reader.how.from_))
        found[reader.column.name] = read.value
        if read.text is not None:
            found[TEXT + reader.column.name] = read.text
        if read.fault is not None:
            faults.append(read.fault)
    found[UNREAD] = pc.coalesce(*faults)
    for name in (*_PLACES, PLACE):
        if name in batch.schema.names:
            found[name] = batch.column(name)
    return pa.RecordBatch.from_pydict(found)
