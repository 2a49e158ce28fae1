"""Whatever text is written, and however it is damaged, every line is accounted for."""

from __future__ import annotations

import codecs
import csv
import io
import os
from dataclasses import dataclass, field

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tessera.contracts.errors import BadInput
from tessera.stages.ingest.find import Found
from tessera.stages.ingest.layout import Layout
from tessera.stages.ingest.raw import read_lines

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

EXAMPLES = int(os.environ.get("TESSERA_FUZZ", "200"))
PACK = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
LETTERS = "ab1 é東,;|\t\"'\\#:\n\r"


@dataclass(frozen=True)
class Stage:
    """Stands for the engine: keeps what was staged."""

    spill: object
    read: object = field(default=lambda path, name: ibis.memtable({"x": [1]}))


@dataclass(frozen=True)
class Dialect:
    delimiter: str
    quote: str
    quoting: int
    escape: str | None
    encoding: str
    end: str
    packed: str
    bom: bool
    blank: int

    @property
    def quoted(self) -> bool:
        return self.quoting != csv.QUOTE_NONE

    def layout(self, columns: tuple[str, ...]) -> Layout:
        return Layout(
            columns,
            delimiter=self.delimiter,
            quoted=self.quoted,
            quote=self.quote,
            escape=self.escape,
            encoding=self.encoding,
        )

    def bytes(self, rows: list[list[str]]) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.writer(
            text,
            delimiter=self.delimiter,
            quoting=self.quoting,
            lineterminator=self.end,
            quotechar=self.quote if self.quoted else None,
            escapechar=self.escape if not self.quoted else None,
        )
        writer.writerows(rows)
        data = (self.end * self.blank + text.getvalue()).encode(self.encoding)
        mark = {"utf-8": codecs.BOM_UTF8}.get(self.encoding, b"") if self.bom else b""
        return mark + data


dialects = st.builds(
    Dialect,
    st.sampled_from(",;|\t"),
    st.sampled_from("\"'"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONE]),
    st.none(),
    st.sampled_from(["utf-8", "utf-16", "utf-16-le", "gb18030", "utf-8-sig"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", *PACK]),
    st.booleans(),
    st.integers(0, 2),
)


@st.composite
def tables(draw) -> tuple[Dialect, list[list[str]]]:
    dialect = draw(dialects)
    letters = LETTERS
    if not dialect.quoted:
        letters = "".join(c for c in LETTERS if c not in f'{dialect.delimiter}\n\r"')
    elif dialect.quoting != csv.QUOTE_ALL and dialect.end == "\n":
        letters = LETTERS.replace("\r", "")  # the writer leaves it without quotes
    width = draw(st.integers(2, 4))
    cell = st.text(letters, max_size=8)
    rows = draw(st.lists(st.lists(cell, min_size=width, max_size=width), min_size=1, max_size=12))
    return dialect, rows


def read(folder, data: bytes, dialect: Dialect, width: int):
    names = tuple(f"c{place}" for place in range(width))
    path = folder / f"x.csv{dialect.packed}"
    if dialect.packed:
        with pa.CompressedOutputStream(str(path), PACK[dialect.packed]) as stream:
            stream.write(data)
    else:
        path.write_bytes(data)
    lines = read_lines(Stage(folder), [Found(path, "x.csv")], dialect.layout(names), "x")
    rows = pq.read_table(folder / "raw_x.parquet").to_pylist()
    return lines, {row["source_row"]: [row[name] or "" for name in names] for row in rows}


def written(dialect: Dialect, rows: list[list[str]]) -> tuple[bytes, dict[int, list[str]]]:
    """Bytes of a file with a header, and each row by the line it begins on."""
    width = len(rows[0])
    header = [f"c{place}" for place in range(width)]
    place, expected = 1, {}
    for row in rows:
        expected[place] = row
        ends = dialect.bytes([row]).decode(dialect.encoding).removeprefix("\ufeff")
        place += ends.count("\n") - dialect.blank
    return dialect.bytes([header, *rows]), expected


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tables())
def test_what_was_written_is_read_or_set_aside(tmp_path, table):
    dialect, rows = table
    data, expected = written(dialect, rows)
    lines, found = read(tmp_path, data, dialect, len(rows[0]))
    aside = {one.source_row for one in lines.rejected}
    blank = {place for place, row in expected.items() if not any(row)}
    assert {place: row for place, row in expected.items() if place in found} == found
    assert set(expected) <= set(found) | aside | blank
    in_one_line = {place for place, row in expected.items() if not set("\n\r") & set("".join(row))}
    assert in_one_line <= set(found) | blank
    assert lines.counts.records == len(found) + len(lines.rejected)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(tables(), st.data())
def test_damage_stays_where_it_was_done(tmp_path, table, data):
    """A quote, a NUL, a delimiter or a cut somewhere costs the lines around it, never others."""
    dialect, rows = table
    whole, _ = written(dialect, rows)
    at = data.draw(st.integers(0, len(whole)))
    junk = data.draw(st.sampled_from([b'"', b"'", b"\0", b",", b"\r", b"\n", b"\xff", b""]))
    gone = data.draw(st.integers(0, 3))
    damaged = whole[:at] + junk + whole[at + gone :]
    try:
        lines, found = read(tmp_path, damaged, dialect, len(rows[0]))
    except BadInput as error:
        told = str(error)
    else:
        told = ""
    assert "\n" not in told
    assume(not told)
    counts = lines.counts
    assert counts.records == len(found) + len(lines.rejected)
    if dialect.encoding.startswith("utf-8"):  # elsewhere one byte less moves all that follow
        assert sum(row not in rows for row in found.values()) <= 2
    parts = counts.header + counts.blank + counts.comment + counts.joined + counts.records
    assert counts.lines == parts
