"""The door: raw files of any text format become Parquet of strings, with file and row number.

Reading is the only place where a file format matters; lines that are no rows are rejected here with
their reason, and whatever makes a whole file unreadable is said in one line.
"""

from __future__ import annotations

import csv
import errno
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tessera.contracts.errors import BadInput
from tessera.ingest.engine import FILE, ROW, Engine

_BLOCK = 1 << 24
_DOUBLE_COLON = "\x1f"  # readers take one character between values; MovieLens has two


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that could not even be split into its columns."""

    source_file: str
    source_row: int
    reason: str
    row: str


@dataclass(frozen=True, slots=True)
class Lines:
    """Rows of one or more files as text, and the lines that are none."""

    rows: ir.Table
    rejected: tuple[Rejected, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a text file is written."""

    columns: tuple[str, ...]
    """Columns to read; others are ignored."""
    header: bool = True
    """Whether the first line names the columns; without it they are `columns` in order."""
    delimiter: str = ","
    quoted: bool = True
    types_in_header: bool = False
    """Header cells are `name:type`, as in RecBole's atomic files."""


def find(folder: Path, pattern: str) -> list[Path]:
    """List the files that match a pattern, plain or gzipped; the plain one of a pair wins.

    Raises
    ------
    BadInput
        If there is none.
    """
    found = maybe(folder, pattern)
    if not found:
        raise BadInput(f"{pattern}[.gz] is missing in {folder}: put the source's file there")
    return found


def maybe(folder: Path, pattern: str) -> list[Path]:
    """List like `find`, but a source may lack this file."""
    plain = {path.name: path for path in folder.glob(pattern)}
    gzipped = {path.name[:-3]: path for path in folder.glob(pattern + ".gz")}
    return [path for _, path in sorted((gzipped | plain).items())]


def read_lines(engine: Engine, paths: Sequence[Path], layout: Layout, name: str) -> Lines:
    """Turn text files of one layout into a table of strings with `source_file`, `source_row`.

    Raises
    ------
    BadInput
        If a file is empty, truncated, not UTF-8, or lacks a column.
    """
    staged = engine.spill / f"raw_{name}.parquet"
    strings = [(column, pa.string()) for column in (*layout.columns, FILE)]
    schema = pa.schema([*strings, (ROW, pa.int64())])
    rejected: list[Rejected] = []
    with pq.ParquetWriter(staged, schema) as writer:
        for path in paths:
            for batch in _batches(path, layout, rejected):
                writer.write_batch(batch.cast(schema))
    return Lines(engine.read(staged, f"raw_{name}"), tuple(rejected))


def read_bytes(path: Path) -> bytes:
    """Read a whole small file, unpacked.

    Raises
    ------
    BadInput
        If it is empty or truncated.
    """
    with _readable(path):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if not data.strip():
        raise BadInput(f"{path.name} is empty: fetch it again")
    return data


def stage_columns(engine: Engine, columns: dict[str, pa.Array], name: str) -> ir.Table:
    """Hand columns that a source parsed itself to the engine."""
    staged = engine.spill / f"raw_{name}.parquet"
    pq.write_table(pa.table(columns), staged)
    return engine.read(staged, f"raw_{name}")


def _batches(path: Path, layout: Layout, rejected: list[Rejected]) -> Iterator[pa.RecordBatch]:
    """Stream one file; row numbers count rejected lines too."""
    bad_rows: list[int] = []
    first_row = 1 if layout.header else 0

    def reject(line: pa_csv.InvalidRow) -> str:
        row = line.number - first_row
        reason = f"line has {line.actual_columns} values instead of {line.expected_columns}"
        rejected.append(Rejected(path.name, row, reason, line.text.replace(_DOUBLE_COLON, "::")))
        bad_rows.append(row)
        return "skip"

    with _readable(path), _open(path, layout) as stream:
        header = _header(path, layout) if layout.header else list(layout.columns)
        reader = _reader(stream, header, layout, first_row, reject)
        row = 1
        for batch in reader:
            number_N = _next_rows(row, batch.num_rows, bad_rows)
            row = int(number_N[-1]) + 1 if len(number_N) else row
            file = pa.repeat(pa.scalar(path.name), batch.num_rows)
            yield pa.record_batch(
                [*batch.columns, file, pa.array(number_N)], names=[*layout.columns, FILE, ROW]
            )


def _reader(
    stream: IO[bytes] | pa.NativeFile,
    header: list[str],
    layout: Layout,
    skip_rows: int,
    reject: Callable[[pa_csv.InvalidRow], str],
) -> pa_csv.CSVStreamingReader:
    """Open a stream of batches in which every value is text and empty text is null."""
    return pa_csv.open_csv(
        stream,
        read_options=pa_csv.ReadOptions(
            use_threads=False, block_size=_BLOCK, column_names=header, skip_rows=skip_rows
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=_one_character(layout.delimiter),
            quote_char='"' if layout.quoted else False,
            newlines_in_values=layout.quoted,
            invalid_row_handler=reject,  # with use_threads it could not number the rows
        ),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            include_columns=layout.columns,
            strings_can_be_null=True,
            null_values=[""],
        ),
    )


def _next_rows(row: int, count: int, bad_rows: list[int]) -> npt.NDArray[np.int64]:
    """Give numbers to the next `count` good rows from `row` on, leaving out the rejected ones."""
    ahead = np.arange(row, row + count + len(bad_rows), dtype=np.int64)
    return ahead[~np.isin(ahead, bad_rows)][:count]


def _header(path: Path, layout: Layout) -> list[str]:
    """Read and check the column names."""
    with _text(path) as text:
        if layout.quoted:
            found = next(csv.reader(text, delimiter=layout.delimiter), [])
        else:
            found = text.readline().rstrip("\r\n").split(layout.delimiter)
    if layout.types_in_header:
        found = [cell.split(":")[0] for cell in found]
    if not any(found):
        raise BadInput(f"{path.name} is empty: fetch it again")
    missing = [column for column in layout.columns if column not in found]
    if missing:
        raise BadInput(
            f"{path.name} lacks column {', '.join(missing)}: rename it; found {', '.join(found)}"
        )
    return found


def _text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _open(path: Path, layout: Layout) -> IO[bytes] | pa.NativeFile:
    if not path.stat().st_size:
        raise BadInput(f"{path.name} is empty: fetch it again")
    if len(layout.delimiter) > 1:
        return io.BytesIO(_single_delimiter(read_bytes(path), layout.delimiter))
    return pa.input_stream(path, compression="gzip" if path.suffix == ".gz" else None)


def _single_delimiter(data: bytes, delimiter: str) -> bytes:
    """Replace `::`; MovieLens writes Latin-1, later copies UTF-8."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace(delimiter, _DOUBLE_COLON).encode()


def _one_character(delimiter: str) -> str:
    return delimiter if len(delimiter) == 1 else _DOUBLE_COLON


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say in one line why a file cannot be read."""
    try:
        yield
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        kind = "is not UTF-8" if "utf" in str(error).lower() else "cannot be read"
        raise BadInput(f"{path.name} {kind}: fetch it again ({_line(error)})") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadInput(f"{path.name} is truncated: fetch it again ({_line(error)})") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise BadInput(
            f"{path.name} is truncated or unreadable: fetch it again ({_line(error)})"
        ) from error


def _line(error: BaseException) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()[:200]
