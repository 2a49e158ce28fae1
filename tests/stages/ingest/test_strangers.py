"""What spreadsheets, data frames and shops write: read to the right value, or its cause is told."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from tessera.contracts.errors import BadInput
from tessera.contracts.tables import EVENTS
from tessera.stages.ingest import moments
from tessera.stages.ingest.how_written import how_written
from tessera.stages.ingest.infer import infer
from tessera.stages.ingest.samples import read_folder
from tessera.stages.ingest.tidy import tidied, tidied_column

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

HEADER = "client,isin,day,value"
COLUMNS = {"user_id": "client", "item_id": "isin", "event_ts": "day", "amount_eur": "value"}
COUNT = 24


def day(number: int) -> str:
    return (datetime(2021, 1, 1) + timedelta(days=number)).strftime("%Y-%m-%d")


@pytest.fixture
def shop(ingest, tmp_path):
    """Write orders, one dict of changes a row, and ingest them."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "products.csv").write_text(
        "isin,title\n" + "".join(f"i{number},I {number}\n" for number in range(3))
    )

    def lines(change=lambda _: {}, delimiter: str = ",") -> list[str]:
        rows = [
            {"client": f"u{n % 4}", "isin": f"i{n % 3}", "day": day(n), "value": "10.25"}
            | change(n)
            for n in range(COUNT)
        ]
        return [
            HEADER.replace(",", delimiter),
            *(delimiter.join(row.values()) for row in rows),
        ]

    def go(files: dict[str, bytes | str | list[str]], columns: dict | None = None, **how):
        for name, data in files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            text = "\n".join(data) + "\n" if isinstance(data, list) else data
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        events = {"file": "orders.csv", "columns": COLUMNS | (columns or {})}
        events |= {"constants": {"action": "buy"}} | how
        items = {"file": "products.csv", "columns": {"item_id": "isin", "name": "title"}}
        return ingest(folder, "table", mapping={"events": events, "items": items})

    def refused(*args, **how) -> str:
        with pytest.raises(BadInput) as caught:
            go(*args, **how)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    go.folder, go.lines, go.refused = folder, lines, refused
    return go


def values(out, column: str) -> list:
    return [row[column] for row in sorted(out.rows("events"), key=lambda row: row["event_id"])]


SEEN_ALIKE = {
    "\u200fA1\u200e": "A1",
    "A\u200b1": "A1",
    "\ufeffA1": "A1",
    "A\ufeff1": "A1",
    "A\u00ad1": "A1",
    "\u202aA1\u202c": "A1",
    "A\u00a01": "A 1",
    "A\u20071\u3000": "A 1",
    '="007"': "007",
    '=""': "",
    "\u0645\u06cc\u200c\u062e": "\u0645\u06cc\u200c\u062e",
    "cafe\u0301": "caf\u00e9",
    "'007": "'007",
}


@pytest.mark.parametrize("written", SEEN_ALIKE)
def test_what_nobody_sees_is_no_part_of_a_value(written):
    assert tidied(written) == SEEN_ALIKE[written]
    assert tidied_column(pa.array([written, None])).to_pylist() == [SEEN_ALIKE[written], None]
    assert tidied(written, strip=False) == written.replace("e\u0301", "\u00e9")


def test_ids_that_look_the_same_join_and_headers_are_found(shop):
    marks = ["\u200b", "\u200f", "\ufeff", ""]
    lines = shop.lines(lambda n: {"isin": f"i{marks[n % 4]}{n % 3}", "client": f"u{marks[n % 4]}1"})
    out = shop({"orders.csv": [lines[0].replace("day", "\u200bday\u00a0"), *lines[1:]]})
    assert set(values(out, "item_id")) == {"i0", "i1", "i2"}
    assert set(values(out, "user_id")) == {"u1"}
    assert out.metrics["rows_quarantined"] == 0


def test_a_value_is_named_as_it_looks(shop):
    rows = shop.lines(lambda n: {"value": "1", "client": "Kauf\u00a0A" if n % 2 else "Kauf A"})
    columns = {"action": {"from": "client", "values": {"Kauf\u00a0A": "buy"}}}
    out = shop({"orders.csv": rows}, columns=columns, constants={})
    assert set(values(out, "action")) == {"buy"}
    assert out.metrics["events_good"] == COUNT


FLOATS = {
    ("17850.0", "17851.00"): ["17850", "17851"],
    ("17850.0", "nan"): ["17850"],
    ("17850.0", "17851"): ["17850", "17851"],
    ("17850.0", "17851.5"): ["17850.0", "17851.5"],
    ("17850.0", "A1"): ["17850.0", "A1"],
    ("00017", "1"): ["00017", "1"],
}


@pytest.mark.parametrize("kind", ["text", "parquet"])
@pytest.mark.parametrize("ids", FLOATS)
def test_ids_that_went_through_floats_are_whole_again(shop, ids, kind):
    lines = shop.lines(lambda n: {"client": ids[n % 2]})
    if kind == "text":
        out = shop({"orders.csv": lines})
    else:
        cells = [line.split(",") for line in lines[1:]]
        rows = dict(zip(HEADER.split(","), zip(*cells, strict=True), strict=True))
        pq.write_table(pa.table({k: list(v) for k, v in rows.items()}), shop.folder / "o.parquet")
        out = shop({}, file="o.parquet")
    assert sorted(set(values(out, "user_id"))) == FLOATS[ids]


def test_a_line_of_sums_leaves_ids_alone(shop):
    out = shop({"orders.csv": [*shop.lines(lambda n: {"client": f"1785{n % 4}.0"}), "Sum,,,9"]})
    assert set(values(out, "user_id")) == {"17850", "17851", "17852", "17853"}
    assert out.reasons() == [("events", "item_id: missing")]


@pytest.mark.parametrize("written", ["1.78501E+11", "1,78501E+11", "1.785e+20", "1.5E7"])
def test_a_rounded_id_is_set_aside_and_others_are_not(shop, written):
    lines = shop.lines(lambda n: {"client": ("12E4", "E1", "1E5")[n % 3]})
    lines[3] = ";".join([written, *lines[3].split(",")[1:]])
    lines = [lines[3] if n == 3 else line.replace(",", ";") for n, line in enumerate(lines)]
    out = shop({"orders.csv": lines}, delimiter=";")
    told = "user_id: a rounded number, not an id"
    assert out.metrics["events_good"] == COUNT - 1
    [(_, reason)] = out.reasons()
    assert reason.startswith(told)
    assert repr(written) in reason


MONEY = {
    "1.234,50 \u20ac": 1234.5,
    "\u20ac 7": 7.0,
    "EUR12,5": 12.5,
    "3,00\u00a0EUR": 3.0,
    "+4,5": 4.5,
}


@pytest.mark.parametrize("written", MONEY)
def test_euros_may_say_so(shop, written):
    lines = shop.lines(lambda n: {"value": written if n % 2 else "8"}, ";")
    out = shop({"orders.csv": lines}, delimiter=";", decimal=",", thousands=".")
    assert set(values(out, "amount_eur")) == {MONEY[written], 8.0}


@pytest.mark.parametrize("written", ["12,5-", "(12,5)", "\u221212,5", "12,5- \u20ac", "(12,5) EUR"])
def test_what_is_below_zero_is_told_so(shop, written):
    lines = shop.lines(lambda n: {"value": written if n == 5 else "8"}, ";")
    out = shop({"orders.csv": lines}, delimiter=";", decimal=",")
    assert out.reasons() == [("events", f"amount_eur: below 0, such as {written!r}")]


@pytest.mark.parametrize("written", ["$5", "5 USD", "(5", "5)", "5--", "\u20ac", "(-5)", "1-2"])
def test_other_money_is_no_number(shop, written):
    out = shop({"orders.csv": shop.lines(lambda n: {"value": written if n == 5 else "8"})})
    money = written in ("$5", "5 USD")
    told = "a currency that `currency` does not name" if money else "not a number"
    assert out.reasons() == [("events", f"amount_eur: {told}, such as {written!r}")]


def test_days_of_spreadsheets_are_read_and_named(shop):
    lines = shop.lines(lambda n: {"day": f"{44196 + n}" + (".5" if n % 2 else "")})
    assert "say unit: excel in" in shop.refused({"orders.csv": lines})
    seconds = {"event_ts": {"from": "day", "unit": "s"}}
    assert "say unit: excel in" in shop.refused({"orders.csv": lines}, columns=seconds)
    days = {"event_ts": {"from": "day", "unit": "excel", "zone": "Europe/Berlin"}}
    found = values(shop({"orders.csv": lines}, columns=days), "event_ts")
    assert found[:2] == [
        datetime(2020, 12, 31, tzinfo=UTC),
        datetime(2021, 1, 1, 11, tzinfo=UTC),
    ]


@pytest.mark.parametrize(("text", "fault"), [("59", True), ("x", True), ("1e9", True)])
def test_no_day_of_a_spreadsheet(text, fault):
    moment, told = moments.reader(None, moments.DAYS, None)(text)
    assert (moment is None) is fault
    assert told


def test_dates_in_two_orders_are_refused_whatever_the_format(shop):
    both = shop.lines(
        lambda n: {"day": f"{n % 9 + 13}/12/2020" if n % 2 else f"12/{n % 9 + 13}/2020"}
    )
    told = shop.refused({"orders.csv": both})
    assert "format: '%d/%m/%Y' or '%m/%d/%Y' (it holds both: mend the export)" in told
    said = {"event_ts": {"from": "day", "format": "%d/%m/%Y"}}
    told = shop.refused({"orders.csv": both}, columns=said)
    assert "holds '12/13/2020'" in told
    assert "this one reads '%m/%d/%Y'" in told
    single = shop.lines(lambda n: {"day": "12/31/2020" if n == 3 else f"{n + 1:02d}/11/2020"})
    assert shop({"orders.csv": single}, columns=said).metrics["events_quarantined"] == 1


def test_letters_of_a_zone_ask_for_the_zone(shop):
    names = ["CET", "CEST"]
    lines = shop.lines(lambda n: {"day": f"{day(n)} 10:00:00 {names[n % 2]}"})
    forms = ["%Y-%m-%d %H:%M:%S CEST", "%Y-%m-%d %H:%M:%S CET"]
    assert f"say format: {forms} and zone:" in shop.refused({"orders.csv": lines})
    said = {"event_ts": {"from": "day", "format": forms, "zone": "Europe/Berlin"}}
    found = values(shop({"orders.csv": lines}, columns=said), "event_ts")
    assert found[0] == datetime(2021, 1, 1, 9, tzinfo=UTC)


def test_excel_is_told_the_delimiter_and_so_are_we(shop):
    lines = ["sep=;", *shop.lines(delimiter=";")]
    out = shop({"orders.csv": lines}, delimiter=";")
    assert (out.metrics["events_good"], out.metrics["events_lines_header"]) == (COUNT, 2)
    out = shop({"orders.csv": lines}, delimiter=";", skip_lines=1)
    assert out.metrics["events_good"] == COUNT
    assert "line 1 says 'sep=;': say delimiter: ';'" in shop.refused({"orders.csv": lines})


@pytest.mark.parametrize(("mark", "shown"), [(";", '";"'), ("\t", r'"\t"'), ("|", '"|"')])
def test_a_header_of_one_name_tells_the_delimiter(shop, mark, shown):
    told = shop.refused({"orders.csv": shop.lines(delimiter=mark)})
    assert f"is one name: say delimiter: {shown} in the mapping" in told


FOREIGN = {
    "packed twice": gzip.compress(gzip.compress(b"a,b\n1,2\n")),
    "is a web page": b"\n<!DOCTYPE html><html>Sign in</html>\n",
    "is JSON": b'[\n {"client": "u1"}]\n',
    "is the pointer of a file in Git LFS": b"version https://git-lfs.github.com/spec/v1\noid x\n",
    "is Arrow": b"ARROW1\0\0",
    "is a database": b"SQLite format 3\0",
    "is Parquet": gzip.compress(b"PAR1\0\0"),
}


@pytest.mark.parametrize("told", FOREIGN)
def test_what_is_no_text_table_is_named(shop, told):
    assert told in shop.refused({"orders.csv": FOREIGN[told]})


def test_empty_parts_are_passed_with_a_word_and_an_empty_file_is_not(shop, caplog):
    lines = shop.lines()
    parts = {"o/part-0.csv": lines[:9], "o/part-1.csv": b"", "o/part-2.csv": [HEADER, *lines[9:]]}
    out = shop(parts | {"o/_SUCCESS": b"", "o/.part-0.csv.crc": b"crc"}, file="o")
    assert out.metrics["events_good"] == COUNT
    assert "o/part-1.csv: empty, so nothing is read from it" in caplog.text
    assert "part-1.csv is empty: fetch it again" in shop.refused({}, file="o/part-1.csv")


def test_a_column_without_a_name_is_said(shop, caplog):
    lines = shop.lines()
    rows = [f",{lines[0]}", *(f"{n},{line}" for n, line in enumerate(lines[1:]))]
    assert shop({"orders.csv": rows}).metrics["events_good"] == COUNT
    assert "orders.csv: not mapped: a column without a name" in caplog.text


def test_infer_reads_what_excel_writes(tmp_path):
    rows = [f'="{n:04d}";{44196 + n};{n + 1}.000,50 \u20ac' for n in range(30)]
    text = "\r\n".join(["sep=;", "Kunde\u00a0nr;Datum;Betrag", *rows])
    (tmp_path / "export.csv").write_bytes((text + "\r\n").encode("cp1252"))
    [sample], left_out = read_folder(tmp_path)
    assert left_out == []
    assert sample.options == {"encoding": "cp1252", "delimiter": ";"}
    assert list(sample.columns) == ["Kunde nr", "Datum", "Betrag"]
    assert sample.columns["Kunde nr"][:2] == ["0000", "0001"]


def test_infer_writes_what_ingest_reads(shop):

    columns = {column.name: column for column in EVENTS.columns}
    days = [f"{44196 + n}" for n in range(30)]
    assert how_written(columns["event_ts"], days, "text")[0] == {"unit": "excel"}
    money = [f"{n + 1}.000,50 \u20ac" for n in range(30)]
    how, _ = how_written(columns["amount_eur"], money, "text")
    assert how == {"decimal": ",", "thousands": "."}
    lines = shop.lines(lambda n: {"value": money[n]}, ";")
    out = shop({"orders.csv": lines}, {"amount_eur": {"from": "value"} | how}, delimiter=";")
    assert pc.sum(pa.array(values(out, "amount_eur"))).as_py() == sum(
        1000 * (n + 1) + 0.5 for n in range(COUNT)
    )
    assert json.dumps(out.reasons()) == "[]"


def test_a_header_below_other_lines_is_found(shop):
    lines = shop.lines()
    told = shop.refused({"orders.csv": ["Orders of 2021", "Bank AG; Munich", "", *lines]})
    assert told == ("orders.csv: the columns are named in line 4: say skip_lines: 3 in the mapping")
    out = shop({}, skip_lines=3)
    assert out.metrics["events_good"] == COUNT


def test_a_part_without_a_header_is_said_to_have_none(shop):
    lines = shop.lines()
    told = shop.refused({"o/part-0.csv": lines[:9], "o/part-1.csv": lines[9:]}, file="o")
    assert told.startswith("o/part-1.csv lacks column client")
    assert "begins with u0, i2, 2021-01-09, 10.25, so write the header" in told


def test_a_file_name_is_found_however_its_accents_are_stored(shop):
    out = shop({"auftra\u0308ge.csv": shop.lines()}, file="auftr\u00e4ge.csv")
    assert out.metrics["events_good"] == COUNT


def test_a_second_kind_of_date_is_said_to_stand_beside_iso_dates(shop):
    lines = shop.lines(lambda n: {"day": "13.01.2021"} if n % 2 else {})
    told = shop.refused({"orders.csv": lines})
    assert "say format: '%d.%m.%Y' and, in a list with it, the format of the ISO dates" in told
    both = {"event_ts": {"from": "day", "format": ["%d.%m.%Y", "%Y-%m-%d"]}}
    assert shop({"orders.csv": lines}, columns=both).metrics["events_good"] == COUNT


@pytest.mark.parametrize(
    ("clock", "how"),
    [
        (" 10:00:00,123", {}),
        ("T12:00:00,123+02:00", {}),
        (" 11:00:00,123", {"zone": "Europe/Rome"}),
        (" 10:00:00,123", {"format": "%Y-%m-%d %H:%M:%S,%f"}),
    ],
)
def test_a_comma_before_parts_of_a_second_is_read(shop, clock, how):
    lines = shop.lines(lambda n: {"day": day(n) + clock}, ";")
    said = {"event_ts": {"from": "day"} | how}
    found = values(shop({"orders.csv": lines}, columns=said, delimiter=";"), "event_ts")
    assert found[0] == datetime(2021, 1, 1, 10, 0, 0, 123_000, tzinfo=UTC)
    assert len(found) == COUNT


def test_a_comma_that_a_format_does_not_name_is_set_aside_with_the_option(shop):
    clock = " 10:00:00"
    lines = shop.lines(lambda n: {"day": day(n) + clock + ",5" * (n == 1)}, ";")
    said = {"event_ts": {"from": "day", "format": "%Y-%m-%d %H:%M:%S"}}
    out = shop({"orders.csv": lines}, columns=said, delimiter=";")
    told = "not a time like %Y-%m-%d %H:%M:%S, such as '2021-01-02 10:00:00,5'"
    assert out.reasons() == [("events", f"event_ts: {told}")]


def test_infer_takes_the_finer_time_and_no_date_for_a_name(tmp_path):
    events = [f"{n % 7},{n % 5},20220422,{1650000000000 + n * 3_600_000},{n}.5" for n in range(60)]
    items = [f"{n},2022-03-{n + 10}" for n in range(5)]
    (tmp_path / "log.csv").write_text(
        "\n".join(["user_id,video_id,date,time_ms,UnitPrice", *events]) + "\n"
    )
    (tmp_path / "videos.csv").write_text("\n".join(["video_id,upload_dt", *items]) + "\n")
    guesses = {guess.table: guess for guess in infer(read_folder(tmp_path)[0]).tables}
    chosen = {choice.column: choice for choice in guesses["events"].choices}
    assert (chosen["event_ts"].theirs, chosen["event_ts"].how) == ("time_ms", {"unit": "ms"})
    assert "the price of one, or of all" in chosen["amount_eur"].otherwise
    assert [choice.column for choice in guesses["items"].choices] == ["item_id"]


REMEDIES = {
    "client": ("1.78501E+11", "export the column as text"),
    "isin": ("I0", "see that both files write the item alike"),
    "value": ("-1", "mend the source"),
}


@pytest.mark.parametrize("column", REMEDIES)
def test_a_lost_table_is_told_its_remedy(shop, column):
    value, remedy = REMEDIES[column]
    told = shop.refused({"orders.csv": shop.lines(lambda _: {column: value})})
    assert repr(value) in told
    assert remedy in told


def test_a_spelling_without_an_entry_is_told_to_be_added(shop):
    side = {"action": {"from": "client", "values": {"buy": "buy"}}}
    lines = shop.lines(lambda _: {"client": "BUY"})
    told = shop.refused({"orders.csv": lines}, columns=side | {"user_id": "isin"}, constants={})
    assert "holds 'BUY'); add the value to `values` in ingest.mapping.events" in told
