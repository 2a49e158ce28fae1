"""The entry of Parquet: files, parts and partitions of any tool become one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from tessera.contracts.errors import BadInput
from tessera.stages.ingest.casts import Place, Role, cast, target
from tessera.stages.ingest.counts import Counts
from tessera.stages.ingest.decode import readable
from tessera.stages.ingest.engine import FILE, ROW, Engine, check_parquet
from tessera.stages.ingest.find import Found
from tessera.stages.ingest.pointed import Ids
from tessera.stages.ingest.raw import NUMBER, Lines, require_columns

_BATCH = 250_000


def is_parquet(file: Found) -> bool:
    """Tell by name, or else by how the file begins."""
    if file.path.suffix in (".parquet", ".parq", ".pq"):
        return True
    with readable(file.path), file.path.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def read_parquet(
    engine: Engine, files: Sequence[Found], roles: Mapping[str, Role], name: str
) -> Lines:
    """Turn Parquet files into one table.

    Parameters
    ----------
    engine : Engine
        Holds the table.
    files : sequence of Found
        Read one after the other; columns that a file lacks may be given by its partitions.
    roles : mapping
        Columns to read, and what each is for.
    name : str
        Name of the table in the engine.

    Returns
    -------
    Lines
        With these columns, `source_file`, `source_row` and `source_number`.

    Raises
    ------
    BadInput
        If a file is damaged, lacks a column, or holds what cannot be read in one way.
    """
    wanted = _types(files, roles)
    staged = engine.spill / f"raw_{name}.parquet"
    places = [(FILE, pa.string()), (ROW, pa.int64()), (NUMBER, pa.int64())]
    schema = pa.schema([*wanted.items(), *places])
    rows = 0
    ids = Ids(column for column, role in roles.items() if role == "id" and _is_text(wanted[column]))
    with pq.ParquetWriter(staged, schema) as writer:
        for file in files:
            for batch in _batches(file, roles, schema, rows):
                ids.see(batch)
                writer.write_batch(batch)
            rows += pq.read_metadata(file.path).num_rows
    found = tuple(check_parquet(files[0].path).names)
    read = ids.without_points(engine.read(staged, f"raw_{name}"))
    return Lines(read, (), Counts(records=rows), found)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind))


def _batches(
    file: Found, roles: Mapping[str, Role], schema: pa.Schema, before: int
) -> Iterator[pa.RecordBatch]:
    """Stream one file; `before` rows lie in the files before it."""
    own = [column for column in roles if column not in file.partitions]
    first = 1
    with readable(file.path):
        for batch in pq.ParquetFile(file.path).iter_batches(_BATCH, columns=own):
            count = batch.num_rows
            given = {
                column: pa.repeat(pa.scalar(text, pa.string()), count)
                for column, text in file.partitions.items()
            }
            values = [
                cast(
                    Place(file.label, column, role, first),
                    given[column] if column in given else batch[column],
                    schema.field(column).type,
                )
                for column, role in roles.items()
            ]
            row_N = np.arange(first, first + count, dtype=np.int64)
            named = pa.repeat(pa.scalar(file.label), count)
            yield pa.record_batch(
                [*values, named, pa.array(row_N), pa.array(row_N + before)], schema=schema
            )
            first += count


def _types(files: Sequence[Found], roles: Mapping[str, Role]) -> dict[str, pa.DataType]:
    """Choose for each column the type that all its files can be read as."""
    chosen: dict[str, pa.DataType] = dict.fromkeys(roles, pa.null())
    for file in files:
        found = check_parquet(file.path)
        require_columns(file.label, [*found.names, *file.partitions], list(roles))
        for column, role in roles.items():
            given = column in file.partitions
            own = pa.string() if given else found.field(column).type
            own = target(Place(file.label, column, role), own)
            common = _common(chosen[column], own)
            if common is None:
                raise BadInput(
                    f"{file.label}: column {column} holds {own}, but {chosen[column]} in the files "
                    f"before it, such as {files[0].label}: write all alike"
                )
            chosen[column] = common
    return {name: _filled(kind) for name, kind in chosen.items()}


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Find the type that two files can be read as; what holds nothing fits all."""
    if one == other or pt.is_null(other):
        return one
    if pt.is_null(one):
        return other
    if pt.is_list(one) and pt.is_list(other):
        inner = _common(one.value_type, other.value_type)
        return None if inner is None else pa.list_(inner)
    return pa.float64() if {one, other} == {pa.int64(), pa.float64()} else None


def _filled(kind: pa.DataType) -> pa.DataType:
    """Let what holds nothing be text."""
    if pt.is_list(kind):
        return pa.list_(_filled(kind.value_type))
    return pa.string() if pt.is_null(kind) else kind
