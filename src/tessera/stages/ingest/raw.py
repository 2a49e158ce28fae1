"""Raw files of any text format become Parquet of strings, with file and row number.

Reading is the only place where a file format matters; lines that are no records are rejected with
their reason, and whatever makes a whole file unreadable is said in one line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tessera.contracts.errors import BadInput, InvalidTable
from tessera.stages.ingest.blocks import Block
from tessera.stages.ingest.columns import meant
from tessera.stages.ingest.counts import Counts, Rejected
from tessera.stages.ingest.decode import encoding_of, pieces, readable
from tessera.stages.ingest.engine import FILE, ROW, Engine
from tessera.stages.ingest.find import Found, listed
from tessera.stages.ingest.layout import Layout
from tessera.stages.ingest.pointed import Ids
from tessera.stages.ingest.scan import Scan

_LOG = logging.getLogger(__name__)
_DELIMITERS = {"\t": r'"\t"', ";": '";"', ",": '","', "|": '"|"'}
"""What may stand between values, and how a mapping says it."""
NUMBER = "source_number"
"""Number of a row over all files of its table, unique; `source_row` is its line in its file."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Rows of one or more files, and the lines that are none."""

    rows: ir.Table
    rejected: tuple[Rejected, ...]
    counts: Counts
    """What the physical lines were; of Parquet the rows that the footers tell."""
    found: tuple[str, ...] = ()
    """All columns of the files, also those that nobody asked for."""


def read_lines(engine: Engine, files: Sequence[Found], layout: Layout, name: str) -> Lines:
    """Turn text files of one layout into a table of strings.

    Parameters
    ----------
    engine : Engine
        Holds the table.
    files : sequence of Found
        Read one after the other; columns that a file lacks may be given by its partitions.
    layout : Layout
        How the files are written.
    name : str
        Name of the table in the engine.

    Returns
    -------
    Lines
        With the layout's columns, `source_file`, `source_row` and `source_number`.

    Raises
    ------
    BadInput
        If a file is empty, truncated, in another encoding, or lacks a column.
    """
    staged = engine.spill / f"raw_{name}.parquet"
    strings = [(column, pa.string()) for column in (*layout.columns, FILE)]
    schema = pa.schema([*strings, (ROW, pa.int64()), (NUMBER, pa.int64())])
    counts, rejected, found = Counts(), list[Rejected](), dict[str, None]()
    ids = Ids(layout.ids)
    with pq.ParquetWriter(staged, schema) as writer:
        for file in _with_bytes(files):
            scan = Scan(
                file.label, pieces(file.path, layout), layout, encoding_of(file.path, layout)
            )
            offset = counts.lines
            for batch in _batches(file, scan, found):
                number_N = pc.add(batch[ROW], offset)
                ids.see(batch)
                writer.write_table(batch.append_column(NUMBER, number_N).cast(schema))
            counts.add(scan.counts)
            rejected += scan.rejected
    rows = ids.without_points(engine.read(staged, f"raw_{name}"))
    return Lines(rows, tuple(rejected), counts, tuple(found))


def _with_bytes(files: Sequence[Found]) -> list[Found]:
    """Leave out the empty parts that tools write for a partition without rows."""
    held = [file for file in files if file.path.stat().st_size]
    empty = [file for file in files if file not in held]
    if held and empty:
        _LOG.warning("%s: empty, so nothing is read from it", listed(empty))
    return held or list(files)


def stage_columns(engine: Engine, columns: dict[str, pa.Array], name: str) -> ir.Table:
    """Hand columns that a source parsed itself to the engine."""
    staged = engine.spill / f"raw_{name}.parquet"
    pq.write_table(pa.table(columns), staged)
    return engine.read(staged, f"raw_{name}")


def require_columns(label: str, found: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse a file without the columns we want, or with two of a name.

    Raises
    ------
    BadInput
        Naming the missing columns, those found and the nearest.
    """
    missing = [name for name in wanted if name not in found]
    if missing:
        near = "".join(dict.fromkeys(meant(name, found, listed=False) for name in missing))
        lacks, has = ", ".join(missing), ", ".join(found)
        raise BadInput(f"{label} lacks column {lacks}: rename it; found {has}{near}")
    twice = [name for name in wanted if found.count(name) > 1]
    if twice:
        raise BadInput(f"{label} has column {twice[0]} twice: rename one; found {', '.join(found)}")


def _require_delimiter(label: str, header: list[str], layout: Layout) -> None:
    """Say which delimiter was meant where the whole header reads as one name."""
    if len(header) != 1 or header[0] in layout.columns:
        return
    for mark, shown in _DELIMITERS.items():
        cells = [cell.strip(" \"'").split(":")[0] for cell in header[0].split(mark)]
        if mark != layout.delimiter and len(cells) > 1 and set(cells) & set(layout.columns):
            told = f"say delimiter: {shown} in the mapping"
            if layout.types_in_header:
                told = "write it with tabs"
            raise BadInput(f"{label}: the header {header[0][:80]!r} is one name: {told}")


def _require_header(label: str, header: list[str], scan: Scan, before: dict[str, None]) -> None:
    """Say where the header stands if the line that was taken for it is none."""
    wanted = scan.layout.columns
    if not scan.layout.header or set(header) & set(wanted):
        return
    if number := scan.names_in(wanted):
        raise BadInput(f"{label}: the columns are named in line {number}: say skip_lines: "
                       f"{number - 1} in the mapping")  # fmt: skip
    if before and len(header) == len(before):
        first = ", ".join(header)[:80]
        raise BadInput(
            f"{label} lacks column {', '.join(wanted)}: it begins with {first}, so write the "
            "header of the other files there"
        )


def _batches(file: Found, scan: Scan, found: dict[str, None]) -> Iterator[pa.Table]:
    """Stream one file; a row's number is that of its line."""
    layout = scan.layout
    with readable(file.path):
        header = scan.header()
        _require_delimiter(file.label, header, layout)
        if layout.types_in_header:
            header = [cell.split(":")[0] for cell in header]
        if not any(header):
            raise BadInput(f"{file.label} is empty: fetch it again")
        _require_header(file.label, header, scan, found)
        require_columns(file.label, [*header, *file.partitions], layout.columns)
        found.update(dict.fromkeys(header))
        for block in scan.blocks(len(header)):
            if len(block.row_N):
                parsed = _parsed(block, layout, header)
                yield _with_places(parsed, block, file, layout.columns)


def _parsed(block: Block, layout: Layout, header: list[str]) -> pa.Table:
    """Split records into values, all text, empty text null."""
    places = [str(place) for place in range(len(header))]
    wanted = {column: places[header.index(column)] for column in layout.columns if column in header}
    data = layout.without_null_marks(block.data)
    table = pa_csv.read_csv(
        pa.BufferReader(data),
        read_options=pa_csv.ReadOptions(
            use_threads=False, block_size=len(data) + 1, column_names=places
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=layout.separator.decode(),
            quote_char=layout.quote if layout.quoted else False,
            escape_char=layout.escape or False,
            newlines_in_values=block.over_lines,
            ignore_empty_lines=False,
        ),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(places, pa.string()),
            include_columns=list(wanted.values()),
            strings_can_be_null=True,
            null_values=[""],
        ),
    )
    return table.rename_columns(list(wanted))


def _with_places(parsed: pa.Table, block: Block, file: Found, columns: tuple[str, ...]) -> pa.Table:
    """Say where each row stood; the parser must find the records that the scan has counted."""
    if parsed.num_rows != len(block.row_N):
        raise InvalidTable(
            f"{file.label}: {len(block.row_N)} records, but {parsed.num_rows} were parsed: "
            "report this as a fault of ingest"
        )
    count = parsed.num_rows
    given = {column: pa.repeat(pa.scalar(text, pa.string()), count)
             for column, text in file.partitions.items()}  # fmt: skip
    values = [
        parsed[column] if column in parsed.column_names else given[column] for column in columns
    ]
    named = pa.repeat(pa.scalar(file.label), count)
    return pa.table([*values, named, pa.array(block.row_N)], names=[*columns, FILE, ROW])
