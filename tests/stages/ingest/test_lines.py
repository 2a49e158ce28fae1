"""Every line of a text file is a record, or is told what else it is."""

from __future__ import annotations

import gzip
from dataclasses import dataclass

import pyarrow as pa
import pytest

from tessera.contracts.errors import BadInput
from tessera.stages.ingest import decode, records, scan
from tessera.stages.ingest.counts import Counts
from tessera.stages.ingest.engine import open_engine
from tessera.stages.ingest.table import drafts

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

ITEMS = {"file": "items.csv", "columns": {"item_id": "isin", "name": "name"}}
COUNTED = ("lines", "header", "blank", "comment", "joined", "records")
COLUMNS = {"user_id": "client", "item_id": "isin", "event_ts": "day", "channel": "text"}


@dataclass(frozen=True)
class Read:
    """What a mapped table of events became, before any rule judges it."""

    events: list[dict]
    aside: dict[int, str]
    counts: Counts

    @property
    def counted(self) -> tuple[int, ...]:
        assert self.counts.records == len(self.events) + len(self.aside)
        return tuple(getattr(self.counts, name) for name in COUNTED)

    @property
    def channels(self) -> dict[int, str | None]:
        return {int(row["event_id"]): row["channel"] for row in self.events}


@pytest.fixture
def shop(tmp_path, loose):
    """Read lines of events as some dialect."""
    folder = tmp_path / "shop"
    folder.mkdir()

    def go(data: bytes | str, columns: dict | None = None, **dialect) -> Read:
        (folder / "e.csv").write_bytes(data if isinstance(data, bytes) else data.encode())
        events = {"file": "e.csv", "columns": columns or COLUMNS, **dialect}
        params = loose({"events": events, "items": ITEMS})
        (folder / "items.csv").write_text("isin,name\np1,one\n")
        with open_engine(params, folder) as engine:
            draft = drafts(folder, engine, params)["events"]
            with engine.batches(draft.rows.order_by("event_id")) as batches:
                found = batches.read_all().to_pylist()
        aside = {one.source_row: one.reason for one in draft.rejected}
        return Read(found, aside, draft.counts)

    return go


def rows(count: int, text: str = "t{n}", mark: str = ",") -> list[str]:
    return [
        mark.join((f"u{n % 5}", "p1", f"2024-01-{n % 28 + 1:02d}", text.format(n=n)))
        for n in range(count)
    ]


def file_of(lines: list[str], header: str = "client,isin,day,text") -> str:
    return "\n".join([header, *lines]) + "\n"


def test_a_stray_quote_costs_its_own_line_alone(shop):
    lines = rows(60)
    lines[9] = lines[9].replace("t9", '"Weird')
    lines[39] = lines[39].replace("t39", 'Duo"')
    out = shop(file_of(lines))
    assert out.counted == (61, 1, 0, 0, 0, 60)
    assert out.aside == {
        10: "a quote opens a value and does not close it",
        40: "a quote inside a value: if quotes mean nothing in this file, set quoted: false",
    }


def test_a_quote_that_never_closes_costs_its_own_line_alone(shop):
    lines = rows(20)
    lines[4] = lines[4].replace("t4", '"open')
    out = shop(file_of(lines))
    assert out.counted == (21, 1, 0, 0, 0, 20)
    assert list(out.aside) == [5]


def test_a_quoted_value_may_go_over_lines(shop):
    lines = rows(6)
    lines[2] = lines[2].replace("t2", '"one\ntwo, ""2""\n\nfour"')
    out = shop(file_of(lines))
    assert out.counted == (10, 1, 0, 0, 3, 6)
    assert out.channels == {
        1: "t0",
        2: "t1",
        3: 'one\ntwo, "2"\n\nfour',
        7: "t3",
        8: "t4",
        9: "t5",
    }


def test_lines_that_could_be_rows_or_text_are_all_set_aside(shop):
    lines = rows(6)
    lines[2] = lines[2].replace("t2", '"one\na,b,c,d\nfour"')
    out = shop(file_of(lines))
    assert out.counted == (9, 1, 0, 0, 0, 8)
    unsure = "an open quote over lines that read as rows too: nobody can tell which they are"
    assert out.aside == dict.fromkeys((3, 4, 5), unsure)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('"a"b', "text after a closing quote"),
        ('a"b', "a quote inside a value"),
        ("a\0b", "a control byte"),
        ("a\rb", "a carriage return inside a line"),
        ("a,b", "line has 5 values instead of 4"),
    ],
)
def test_a_broken_line_is_set_aside_with_its_reason(shop, text, reason):
    lines = rows(6)
    lines[2] = lines[2].replace("t2", text)
    out = shop(file_of(lines))
    assert list(out.aside) == [3]
    assert out.aside[3].startswith(reason)
    assert out.counted == (7, 1, 0, 0, 0, 6)


def test_quotes_that_mean_nothing_are_letters(shop):
    lines = rows(4, '"t{n}')
    assert shop(file_of(lines), quoted=False).channels == {n + 1: f'"t{n}' for n in range(4)}


def test_another_quote_and_an_escape(shop):
    lines = rows(4, "'a,{n}'") + rows(1, r"b\,\'\\c") + rows(1, r"\N")
    out = shop(file_of(lines), quote="'", escape="\\")
    assert out.channels == {1: "a,0", 2: "a,1", 3: "a,2", 4: "a,3", 5: "b,'\\c", 6: None}


@pytest.mark.parametrize("mark", [";", "\t", "|", "::", "||", "¦"])
def test_any_delimiter(shop, mark):
    header = "client,isin,day,text".replace(",", mark)
    lines = rows(4, "é{n}", mark=mark)
    out = shop(file_of(lines, header), delimiter=mark, quoted=False)
    assert out.channels == {n + 1: f"é{n}" for n in range(4)}


def test_the_separator_inside_a_file_of_long_delimiters_is_no_delimiter(shop):
    lines = [*rows(4, mark="::"), "u1::p1\x1f2024-01-01::t"]
    out = shop(file_of(lines, "client::isin::day::text"), delimiter="::", quoted=False)
    assert list(out.aside) == [5]


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-8"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("cp1252", "cp1252"),
        ("shift_jis", "shift_jis"),
    ],
)
def test_any_encoding(shop, encoding, named):
    text = "東{n}" if encoding == "shift_jis" else "é{n}"
    out = shop(file_of(rows(4, text)).encode(encoding), encoding=named)
    assert out.channels == {n + 1: text.format(n=n) for n in range(4)}


def test_one_line_in_another_encoding_is_set_aside(shop):
    data = file_of(rows(5)).encode().replace(b"t2", b"t\xe9")
    out = shop(data)
    assert out.aside == {3: "bytes that are not utf-8"}


def test_many_lines_in_another_encoding_are_another_encoding(shop):
    data = file_of(rows(5, "é{n}")).encode("latin-1")
    with pytest.raises(BadInput, match=r"e\.csv is not UTF-8 \(line 3\).*encoding: cp1252"):
        shop(data)


def test_utf_16_without_a_mark_asks_for_its_encoding(shop):
    with pytest.raises(BadInput, match="NUL bytes: name the file's encoding"):
        shop(file_of(rows(5)).encode("utf-16-le"))


def test_blank_lines_comments_and_a_preamble_are_counted(shop):
    head = ["Export of 2024", "", "# by us", "client,isin,day,text"]
    lines = [*head, *rows(2), "", "# note", *rows(2), "   "]
    out = shop("\n".join(lines) + "\n", skip_lines=1, comment="#")
    assert out.counted == (11, 4, 2, 1, 0, 4)
    assert sorted(out.channels) == [1, 2, 5, 6]


def test_a_header_of_two_lines_and_quoted_line_ends_in_it(shop):
    header = 'client,isin,day,"free\n text"\n,,(UTC),'
    columns = COLUMNS | {"event_ts": "day (UTC)", "channel": "free text"}
    out = shop(file_of(rows(3), header), columns=columns, header=2)
    assert out.channels == {1: "t0", 2: "t1", 3: "t2"}


def test_without_a_header_columns_are_numbered(shop):
    columns = {"user_id": "1", "item_id": "2", "event_ts": "3", "channel": "4"}
    out = shop("\n".join(rows(3)), columns=columns, header=0)
    assert out.channels == {1: "t0", 2: "t1", 3: "t2"}
    assert out.counted == (3, 0, 0, 0, 0, 3)


def test_line_ends_of_old_macs_are_line_ends(shop):
    out = shop(file_of(rows(3)).replace("\n", "\r"))
    assert out.channels == {1: "t0", 2: "t1", 3: "t2"}


def test_a_column_that_stands_twice_is_refused(shop):
    with pytest.raises(BadInput, match="has column day twice"):
        shop(file_of(rows(3), "client,isin,day,day"), columns=COLUMNS | {"channel": "isin"})


def test_ids_written_as_floats_lose_their_point_if_all_are(shop):
    columns = COLUMNS | {"user_id": "text"}
    out = shop(file_of(rows(3, "1785{n}.0")), columns=columns)
    assert [row["user_id"] for row in out.events] == ["17850", "17851", "17852"]
    out = shop(file_of([*rows(3, "1785{n}.0"), *rows(1, "A1")]), columns=columns)
    assert [row["user_id"] for row in out.events][2] == "17852.0"


@pytest.mark.parametrize("kind", ["gz", "bz2", "zst", "lz4"])
def test_any_packing_whatever_the_name_says(shop, kind):
    known = {"gz": "gzip", "zst": "zstd"}.get(kind, kind)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, known) as stream:
        stream.write(file_of(rows(3)).encode())
    assert shop(sink.getvalue().to_pybytes()).channels == {1: "t0", 2: "t1", 3: "t2"}


def test_a_gzip_of_several_members_is_read_whole(shop):
    first, second = file_of(rows(3)).encode(), "\n".join(rows(2)).encode()
    assert len(shop(gzip.compress(first) + gzip.compress(second)).events) == 5


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"PK\x03\x04....", "is a zip archive or a workbook"),
        (b"\xd0\xcf\x11\xe0....", "is an old workbook"),
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b'client,isin,day,"text\n', "the header in line 1 has a quote"),
    ],
)
def test_what_is_no_text_is_told_in_one_line(shop, data, told):
    with pytest.raises(BadInput, match=told):
        shop(data)


@pytest.mark.parametrize("block", [400, 407, 414])
def test_a_record_at_the_edge_of_a_block_is_read_whole(shop, monkeypatch, block):
    """Many small blocks: records over lines cross their edges, and nothing else changes."""
    lines = rows(90, '"t{n}\nx"') + rows(90)
    whole = shop(file_of(lines))
    monkeypatch.setattr(scan, "_BLOCK", block)
    monkeypatch.setattr(scan, "REACH", 100)
    monkeypatch.setattr(records, "REACH", 100)
    monkeypatch.setattr(decode, "PIECE", 37)
    assert whole.counts.joined == 90
    assert shop(file_of(lines)) == whole


def test_a_table_of_many_columns_is_read(shop):
    more = [f"x{n}" for n in range(2_500)]
    lines = [",".join([line, *more]) for line in rows(3)]
    out = shop(file_of(lines, ",".join(["client,isin,day,text", *more])))
    assert out.channels == {1: "t0", 2: "t1", 3: "t2"}
