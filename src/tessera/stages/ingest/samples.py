"""The beginning of every file of a folder that may be a table, and how the file is written."""

from __future__ import annotations

import csv
import gzip
import io
import re
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tessera.contracts.errors import BadInput
from tessera.stages.ingest.scan import EXCEL, header_name
from tessera.stages.ingest.tidy import tidied
from tessera.stages.ingest.vocabulary import WORDS, likeness

_BYTES = 1 << 22
_ROWS = 20_000
_TABULAR = (".csv", ".tsv", ".txt", ".dat", ".tab", ".psv", ".inter", ".item", ".user", ".parquet")
_NO_TABLE = re.compile(r"^(readme|license|licence|changelog|notes?|datapackage)\b", re.IGNORECASE)
_PART = re.compile(r"(train|valid|validation|test|part|[0-9]+|[-_. ])")
_NUMERIC = re.compile(r"^[+-]?[0-9][0-9.,:/ -]*$")
_BETWEEN = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class Sample:
    """One table of the folder: a file, or several of one header."""

    file: str | list[str]
    """As a mapping names it."""
    columns: dict[str, list[str]]
    """Column of the file -> its first values as text; missing ones are empty."""
    options: dict[str, Any] = field(default_factory=dict)
    """How the text is written, where that is not the default."""
    unsure: tuple[str, ...] = ()
    whole: bool = True
    """Whether the sample is the whole file."""
    types: dict[str, str] = field(default_factory=dict)
    """Of Parquet: what each column holds."""

    @property
    def rows(self) -> int:
        """Rows of the sample."""
        return max((len(values) for values in self.columns.values()), default=0)

    @property
    def label(self) -> str:
        """Name for people."""
        return self.file if isinstance(self.file, str) else ", ".join(self.file)


def read_folder(folder: Path) -> tuple[list[Sample], list[str]]:
    """Return the tables of a folder, and what was left out with the reason.

    Raises
    ------
    BadInput
        If it is no folder.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is no folder: name the one that holds the source's files")
    found: list[Sample] = []
    left_out: list[str] = []
    for path in _candidates(folder):
        name = path.relative_to(folder).as_posix()
        try:
            sample = _parquet(path, name) if _is_parquet(path) else _text(path, name)
        except (
            OSError,
            EOFError,
            zlib.error,
            ValueError,
            duckdb.Error,
            pa.ArrowException,
        ) as error:
            left_out.append(f"{name}: cannot be read ({' '.join(str(error).split())[:120]})")
            continue
        if sample is None:
            left_out.append(f"{name}: no table")
        else:
            found.append(sample)
    return _grouped(found, folder), left_out


def _candidates(folder: Path) -> Iterator[Path]:
    """List files of the folder and of the folders in it."""
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        hidden = any(part.startswith((".", "_")) for part in inner.parts)
        if path.is_file() and not hidden and not _NO_TABLE.match(path.name):
            bare = path.name.removesuffix(".gz").lower()
            if bare.endswith(_TABULAR) or _is_parquet(path):
                yield path


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) == b"PAR1"


def _parquet(path: Path, name: str) -> Sample:
    file = pq.ParquetFile(path)
    batch = next(file.iter_batches(_ROWS), None)
    rows = pa.table([batch] if batch is None else batch) if batch is not None else None
    columns = {
        one.name: [_as_text(value) for value in rows[one.name].to_pylist()] if rows else []
        for one in file.schema_arrow
    }
    types = {one.name: str(one.type) for one in file.schema_arrow}
    return Sample(name, columns, types=types, whole=file.metadata.num_rows <= _ROWS)


def _as_text(value: object) -> str:
    return "" if value is None else str(value)


def _text(path: Path, name: str) -> Sample | None:
    with path.open("rb") as raw:
        stream = gzip.GzipFile(fileobj=raw) if path.name.endswith(".gz") else raw
        data = stream.read(_BYTES)
        whole = not stream.read(1)
    if not data.strip() or (b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff"))):
        return None
    text, encoding = _decoded(data)
    if not whole:
        text = text[: text.rfind("\n") + 1]
    return _table(name, text, encoding, whole)


def _decoded(data: bytes) -> tuple[str, str]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="ignore"), "utf-8"
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError as error:
        if error.start >= len(data) - 4:  # the sample ends inside a letter
            return data[: error.start].decode("utf-8-sig"), "utf-8"
    return data.decode("cp1252", errors="replace"), "cp1252"


def _table(name: str, text: str, encoding: str, whole: bool) -> Sample | None:
    options: dict[str, Any] = {}
    unsure: list[str] = []
    if encoding != "utf-8":
        options["encoding"] = encoding
        unsure.append("encoding: no UTF-8; cp1252 is what Windows writes, or iso-8859-15")
    marked = EXCEL.match(text.encode())
    if marked:  # passed by ingest too; lines to skip are counted from the first of the file
        text = text.split("\n", 1)[1]
    delimiter, quote, skip = _dialect(text)
    lines = text.splitlines(keepends=True)[skip:]
    delimiter = marked[1].decode() if marked else delimiter
    rows = _split(lines, delimiter, quote)
    width = max((len(row) for row in rows[:100]), default=0)
    if width < 2:
        return None
    options |= _marks(delimiter, quote)
    if skip:
        options["skip_lines"] = skip + bool(marked)
    header = _has_header(rows)
    if not header:
        options["header"] = 0
        unsure.append("header: the first line looks like values, so columns are called 1, 2, ...")
    names = rows.pop(0) if header else [str(place) for place in range(1, width + 1)]
    columns = {
        one: [_tidied(row[place]) if place < len(row) else "" for row in rows[:_ROWS]]
        for place, one in enumerate(map(header_name, names))
        if one.strip()
    }
    return Sample(name, columns, options, tuple(unsure), whole and len(rows) <= _ROWS)


def _marks(delimiter: str, quote: str) -> dict[str, Any]:
    """Return the options of a dialect that is not the usual one."""
    between = {} if delimiter == "," else {"delimiter": delimiter}
    around = {"": {"quoted": False}, '"': {}}.get(quote, {"quote": quote})
    return between | around


def _tidied(cell: str) -> str:
    return cell if cell.isascii() and not cell.startswith('="') else tidied(cell)


def _dialect(text: str) -> tuple[str, str, int]:
    """Return what stands between values and around them, if anything, and lines to skip."""
    first = [line for line in text.splitlines()[:20] if line.strip()]
    if first and all("::" in line for line in first):
        return "::", "", 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.csv"
        path.write_text(text, encoding="utf-8")
        with duckdb.connect() as connection:
            query = "SELECT Delimiter, Quote, SkipRows FROM sniff_csv(?, ignore_errors = true)"
            found = connection.execute(query, [str(path)]).fetchone()
    if found is None:
        raise ValueError("no dialect fits")
    delimiter, quote, skip = found
    if not any(delimiter in line for line in first):
        delimiter = max(_BETWEEN, key=lambda mark: min(line.count(mark) for line in first))
    stray = any(line.count('"') % 2 for line in text.splitlines()[:5_000])
    pairs = re.search(f'(^|{re.escape(delimiter)})"', text, re.MULTILINE) is not None
    if not pairs and sum(_by_apostrophes(line, delimiter) for line in first) * 2 > len(first):
        return delimiter, "'", int(skip)
    return delimiter, '"' if not stray or (quote == '"' and pairs) else "", int(skip)


def _by_apostrophes(line: str, delimiter: str) -> bool:
    """Tell whether a value of a line stands between apostrophes."""
    between = re.escape(delimiter)
    return re.search(f"(^|{between})'([^']|'')*'({between}|$)", line) is not None


def _split(lines: Sequence[str], delimiter: str, quote: str) -> list[list[str]]:
    if len(delimiter) > 1:
        return [line.rstrip("\r\n").split(delimiter) for line in lines if line.strip()]
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    text = io.StringIO("".join(lines), newline="")
    reader = csv.reader(text, delimiter=delimiter, quoting=quoting, quotechar=quote or '"')
    return [row for row in reader if any(cell.strip() for cell in row)]


def _has_header(rows: list[list[str]]) -> bool:
    """Tell names from values: a name is no number, stands alone, and is often a known word."""
    first, others = rows[0], rows[1:2_000]
    if any(_NUMERIC.match(cell.strip()) for cell in first) or len(set(first)) < len(first):
        return False
    known = any(
        likeness(cell, words) == 1.0 or likeness(cell, words) > 0.9
        for cell in first
        for columns in WORDS.values()
        for words in columns.values()
    )
    below = {(place, cell) for row in others for place, cell in enumerate(row)}
    return known or not any((place, cell) in below for place, cell in enumerate(first))


def _grouped(found: list[Sample], folder: Path) -> list[Sample]:
    """Join the parts of one table: equal headers and names that differ by number or split."""
    groups: dict[tuple[Any, ...], list[Sample]] = {}
    for sample in found:
        path = Path(sample.label)
        stem = _PART.sub("", path.name.split(".")[0].lower()) if sample.options.get(
            "header") != 0 else path.name  # fmt: skip
        key = (path.parent.as_posix(), stem, path.suffix, tuple(sample.columns))
        groups.setdefault(key, []).append(sample)
    return [_joined(group, folder) for group in groups.values()]


def _joined(group: list[Sample], folder: Path) -> Sample:
    if len(group) == 1:
        return group[0]
    files = [sample.label for sample in group]
    columns = {
        name: [value for sample in group for value in sample.columns[name]][:_ROWS]
        for name in group[0].columns
    }
    return replace(group[0], file=_pattern(files, folder) or files, columns=columns, whole=False)


def _pattern(files: list[str], folder: Path) -> str | None:
    """Return a pattern that names these files and no other."""
    ends = [re.split("[0-9]+", name) for name in files]
    if len({tuple(end) for end in ends}) > 1 or len(ends[0]) < 2:
        return None
    pattern = "*".join(ends[0])
    everything = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    return (
        pattern if sorted(files) == sorted(n for n in everything if fnmatch(n, pattern)) else None
    )
