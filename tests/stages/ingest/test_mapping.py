"""How values are written is said in the mapping; what is not said is refused, never guessed."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.errors import BadInput

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

EVENTS = {"user_id": "client", "item_id": "isin", "event_ts": "day", "amount_eur": "value"}
ITEMS = {"file": "products.csv", "columns": {"item_id": "isin", "name": "title"}}
DAYS = [f"2021-0{number // 9 + 1}-{number % 9 + 10}" for number in range(36)]


@pytest.fixture
def bank(ingest, tmp_path):
    """Write a small export, ingest it by a mapping; rows are dicts of text."""
    folder = tmp_path / "bank"
    folder.mkdir()
    (folder / "products.csv").write_text(
        "isin,title\n" + "".join(f"i{n},I {n}\n" for n in range(3))
    )

    def orders(changes: dict[int, dict[str, str]], every: dict[str, str] | None = None) -> None:
        lines = []
        for number, day in enumerate(DAYS):
            row = {
                "client": f"u{number % 4}",
                "isin": f"i{number % 3}",
                "day": day,
                "value": "10.25",
            }
            row |= (every or {}) | changes.get(number, {})
            lines.append(";".join(row.values()))
        (folder / "orders.csv").write_text("\n".join(["client;isin;day;value", *lines]) + "\n")

    def go(columns: dict | None = None, tables: dict | None = None, **events):
        chosen = {name: theirs for name, theirs in (EVENTS | (columns or {})).items() if theirs}
        constants = {} if "action" in chosen else {"action": "buy"}
        orders = {"file": "orders.csv", "delimiter": ";", "columns": chosen, "constants": constants}
        mapping = {"events": orders | events, "items": ITEMS}
        mapping |= tables or {}
        return ingest(folder, "table", mapping=mapping)

    go.folder, go.orders = folder, orders
    return go


def first(out, column: str, table: str = "events") -> list:
    key = "event_id" if table == "events" else "item_id"
    return [row[column] for row in sorted(out.rows(table), key=lambda row: row[key])]


def refusal(bank, *args, **kwargs) -> str:
    with pytest.raises(BadInput) as caught:
        bank(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


MARKS = {
    ("1.234,50", "9", "1.234", "2,5"): ({"decimal": ",", "thousands": "."}, [1234.5, 9, 1234, 2.5]),
    ("1,234.50", "999", "1,234", "12.5"): ({"thousands": ","}, [1234.5, 999, 1234, 12.5]),
    ("1'234.50", "1\u2019000", "7", "12.5"): ({"thousands": "'"}, [1234.5, 1000, 7, 12.5]),
    ("1 234,5", "1\u00a0000", "7", "2,5"): (
        {"decimal": ",", "thousands": " "},
        [1234.5, 1000, 7, 2.5],
    ),
    ("1234,5", "0,25", "7", "1e3"): ({"decimal": ","}, [1234.5, 0.25, 7, 1000]),
    ("1.234", "2.500", "3.000", "4"): ({"decimal": "."}, [1.234, 2.5, 3, 4]),
}  # fmt: skip


@pytest.mark.parametrize("written", MARKS)
def test_numbers_in_other_marks_are_read_when_said_and_refused_when_not(bank, written):
    marks, meant = MARKS[written]
    bank.orders({n: {"value": text} for n, text in enumerate(written)}, every={"value": written[3]})
    line = refusal(bank)
    assert line.startswith("orders.csv: column value holds ")
    assert line.endswith("in ingest.mapping.events.columns.amount_eur")
    for name, mark in marks.items():
        assert f"{name}: " in line
        assert mark in line
    out = bank({"amount_eur": {"from": "value", **marks}})
    assert first(out, "amount_eur")[:4] == meant
    assert out.metrics["rows_quarantined"] == 0
    assert first(bank(**marks), "amount_eur") == first(out, "amount_eur"), "said for the table"


def test_a_single_comma_among_proven_dots_is_a_row_and_not_a_convention(bank):
    bank.orders({3: {"value": "11,25"}})
    out = bank()
    assert out.reasons() == [("events", "amount_eur: not a number, such as '11,25'")]


def test_many_commas_beside_proven_dots_are_a_convention_in_doubt(bank):
    bank.orders({n: {"value": "11,25"} for n in range(4)})
    assert "column value holds '11,25': say decimal: ','" in refusal(bank)


def test_a_day_that_no_month_has_is_set_aside(bank):
    bank.orders({0: {"day": "31.02.2021"}, 1: {"day": "1.2.2021"}, 2: {"day": "01.03.2021"},
                 3: {"day": "02.03.2021"}},
                every={"day": "28.02.2021"})  # fmt: skip
    out = bank({"event_ts": {"from": "day", "format": "%d.%m.%Y"}})
    assert out.reasons() == [("events", "event_ts: not a time like %d.%m.%Y, such as '31.02.2021'")]


def test_a_group_of_a_wrong_length_is_no_number(bank):
    bank.orders({3: {"value": "1.23,5"}}, every={"value": "1.234,5"})
    out = bank({"amount_eur": {"from": "value", "decimal": ",", "thousands": "."}})
    assert out.reasons() == [("events", "amount_eur: not a number, such as '1.23,5'")]
    (row,) = out.rows("quarantine")
    assert json.loads(row["row"])["amount_eur"] == "1.23,5"


TIMES = {
    "13.02.2021 10:30": ("%d.%m.%Y %H:%M", datetime(2021, 2, 13, 10, 30, tzinfo=UTC)),
    "2/13/2021 3:04 PM": ("%m/%d/%Y %I:%M %p", datetime(2021, 2, 13, 15, 4, tzinfo=UTC)),
    "20210213": ("%Y%m%d", datetime(2021, 2, 13, tzinfo=UTC)),
    "13-Feb-2021": ("%d-%b-%Y", datetime(2021, 2, 13, tzinfo=UTC)),
    "2021-02-13 10:30:00 UTC": ("%Y-%m-%d %H:%M:%S UTC", datetime(2021, 2, 13, 10, 30, tzinfo=UTC)),
}


@pytest.mark.parametrize("text", TIMES)
def test_a_format_is_named_by_the_refusal_and_read_when_said(bank, text):
    form, meant = TIMES[text]
    bank.orders({n: {"day": text} for n in range(9)})
    assert f"format: '{form}'" in refusal(bank)
    out = bank({"event_ts": {"from": "day", "format": [form, "%Y-%m-%d"]}})
    assert first(out, "event_ts")[:9] == [meant] * 9
    assert out.metrics["events_good"] == len(DAYS)


def test_day_and_month_that_cannot_be_told_apart_are_refused_with_both_ways(bank):
    bank.orders({}, every={"day": "03/04/2021"})
    line = refusal(bank)
    assert "'%d/%m/%Y' or '%m/%d/%Y'" in line
    assert "no value tells day from month" in line


UNITS = {
    "1613212200": "s",
    "1613212200.25": "s",
    "1.6132122e9": "s",
    "1613212200250": "ms",
    "1613212200250000": "us",
    "1613212200250000123": "ns",
}


@pytest.mark.parametrize("text", UNITS)
def test_a_count_from_1970_is_read_by_its_unit(bank, text):
    unit = UNITS[text]
    bank.orders({n: {"day": str(int(1.6e9) + n * 86_400)} for n in range(36)})
    assert "say unit: s in" in refusal(bank)
    assert "say unit: s in" in refusal(bank, {"event_ts": {"from": "day", "unit": "ms"}})
    scale = {"s": "", "ms": "000", "us": "000000", "ns": "000000000"}[unit]
    days = {n: {"day": str(int(1.6e9) + n * 86_400) + scale} for n in range(1, 36)}
    bank.orders({0: {"day": text}} | days)
    out = bank({"event_ts": {"from": "day", "unit": unit}})
    micro = 250_000 if "25" in text[10:] else 0
    assert first(out, "event_ts")[0] == datetime(2021, 2, 13, 10, 30, 0, micro, tzinfo=UTC)
    assert out.metrics["events_good"] == 36


def test_a_number_column_of_parquet_is_a_time_only_by_its_unit(bank):
    bank.orders({})
    days = [1613212200000, *(1623212200000 + n * 100_000 for n in range(4))]
    table = pa.table({"client": ["u1"] * 5, "isin": ["i1"] * 5, "value": [1.0] * 5, "day": days})
    pq.write_table(table, bank.folder / "orders.parquet")
    assert "say unit: ms" in refusal(bank, file="orders.parquet")
    out = bank({"event_ts": {"from": "day", "unit": "ms"}}, file="orders.parquet")
    assert first(out, "event_ts")[0] == datetime(2021, 2, 13, 10, 30, tzinfo=UTC)


CLOCKS = {
    0: ("2021-02-13 10:30:00", datetime(2021, 2, 13, 9, 30, tzinfo=UTC)),
    1: ("2021-07-13T10:30:00.5", datetime(2021, 7, 13, 8, 30, 0, 500_000, tzinfo=UTC)),
    2: ("2021-07-13T10:30:00+05:00", datetime(2021, 7, 13, 5, 30, tzinfo=UTC)),
    3: ("2021-07-13", datetime(2021, 7, 13, tzinfo=UTC)),
    4: ("2021-03-28 03:00:00", datetime(2021, 3, 28, 1, tzinfo=UTC)),
}


def test_a_clock_without_a_zone_stood_where_the_mapping_says(bank):
    bank.orders({n: {"day": text} for n, (text, _) in CLOCKS.items()})
    out = bank({"event_ts": {"from": "day", "zone": "Europe/Rome"}})
    assert first(out, "event_ts")[:5] == [moment for _, moment in CLOCKS.values()]
    assert first(bank(zone="Europe/Rome"), "event_ts") == first(out, "event_ts")


def test_hours_that_the_clock_skips_or_shows_twice_are_set_aside(bank):
    bank.orders({0: {"day": "2021-03-28 02:30:00"}, 1: {"day": "2021-10-31 02:30:00"}})
    out = bank(zone="Europe/Rome")
    hour = "event_ts: an hour that the clock of Europe/Rome"
    assert out.reasons() == [
        ("events", f"{hour} shows twice, such as '2021-10-31 02:30:00'"),
        ("events", f"{hour} skips, such as '2021-03-28 02:30:00'"),
    ]


def test_clocks_of_parquet_are_placed_too(bank):
    days = [datetime(2021, 7, 13, 10, 30), datetime(2021, 3, 28, 2, 30), datetime(2021, 8, 1)]
    days += [datetime(2021, 8, 1, hour) for hour in (1, 2, 3)]
    table = pa.table({"client": ["u1"] * 6, "isin": ["i1"] * 6, "value": [1.0] * 6, "day": days})
    pq.write_table(table, bank.folder / "orders.parquet")
    out = bank(file="orders.parquet", zone="Europe/Rome")
    assert first(out, "event_ts")[0] == datetime(2021, 7, 13, 8, 30, tzinfo=UTC)
    assert out.metrics["events_quarantined"] == 1


@pytest.mark.parametrize("word", ["NA", " NA", "NaN", "null", "\\N", "None", "N/A", "-", "<NA>"])
def test_null_words_are_missing_ids_and_numbers(bank, word, caplog):
    bank.orders({0: {"client": word}, 1: {"value": word}})
    out = bank()
    assert out.reasons() == [("events", f"user_id: missing, such as {word!r}")]
    amounts = {row["event_id"]: row["amount_eur"] for row in out.rows("events")}
    assert amounts["000000000002"] is None
    assert f"column client: 1 values such as {word.strip()!r} count as missing" in caplog.text


def test_further_null_words_are_said_and_all_can_be_switched_off(bank):
    bank.orders({0: {"client": "?"}, 1: {"client": "NA"}})
    assert bank(nulls=["?"]).metrics["events_quarantined"] == 2
    none = bank({"user_id": {"from": "client", "nulls": []}})
    assert {"?", "NA"} <= set(first(none, "user_id"))


def test_a_name_may_be_a_null_word(bank):
    (bank.folder / "products.csv").write_text("isin,title\ni0,None\ni1,NA\ni2,x\n")
    bank.orders({})
    assert first(bank(), "name", "items") == ["None", "NA", "x"]


def test_ids_join_whatever_their_blanks_and_accents_are_made_of(bank):
    composed, apart = "caf\u00e9", "cafe\u0301"
    (bank.folder / "products.csv").write_text(f"isin,title\n{composed} ,x\ni1,y\ni2,z\ni0,w\n")
    bank.orders({0: {"isin": f" {apart}\u200b"}, 1: {"isin": composed}})
    out = bank()
    assert first(out, "item_id")[:2] == [composed] * 2
    items = pa.table({"isin": [apart + "\u00a0", "i0", "i1", "i2"], "title": ["x"] * 4})
    pq.write_table(items, bank.folder / "products.parquet")
    out = bank(tables={"items": ITEMS | {"file": "products.parquet"}})
    assert first(out, "item_id")[:2] == [composed] * 2
    assert out.metrics["rows_quarantined"] == 0


def test_ids_that_went_through_floats_come_back_whole(bank):
    bank.orders({n: {"client": f"{17850 + n % 3}.0"} for n in range(36)})
    assert set(first(bank(), "user_id")) == {"17850", "17851", "17852"}
    bank.orders({0: {"client": "1.0"}})
    assert "1.0" in first(bank(), "user_id")


def test_values_are_mapped_and_those_without_an_entry_are_quoted(bank):
    bank.orders({0: {"value": "BUY"}, 1: {"value": "HOLD"}}, every={"value": "SELL"})
    names = {"from": "value", "values": {"BUY": "buy", "SELL": "sell"}}
    out = bank({"amount_eur": None, "action": names})
    assert first(out, "action")[:2] == ["buy", "sell"]
    assert out.reasons() == [("events", "action: no entry of `values`, such as 'HOLD'")]
    names["otherwise"] = "view"
    out = bank({"amount_eur": None, "action": names})
    assert first(out, "action")[1] == "view"


def clients(rows: str, risk: object, **others) -> dict:
    mapped = {"user_id": "client", "risk_class": risk} | others
    return {"users": {"file": "clients.csv", "columns": mapped}}


def test_risk_classes_of_a_bank_become_ours_and_unknown_may_have_one(bank):
    bank.orders({})
    rows = "client,risk\nu0,1\nu1,5\nu2,NA\nu3,3.0\nu4,7\n"
    (bank.folder / "clients.csv").write_text(rows)
    risk = {"from": "risk", "values": {1: 1, 2: 2, 3: 3, 4: 4, 5: 4}}
    out = bank(tables=clients(rows, risk))
    assert {row["user_id"]: row["risk_class"] for row in out.rows("users")} == {
        "u0": 1, "u1": 4, "u2": None, "u3": 3,
    }  # fmt: skip
    assert out.reasons() == [("users", "risk_class: no entry of `values`, such as '7'")]
    out = bank(tables=clients(rows, risk | {"unknown": 3}))
    assert {row["user_id"]: row["risk_class"] for row in out.rows("users")}["u2"] == 3


def test_users_without_a_date_are_known_from_the_beginning(bank):
    bank.orders({})
    (bank.folder / "clients.csv").write_text("client,risk\nu0, NA\nu1,2.0\nu2,3\n")
    out = bank(tables=clients("", "risk"))
    assert [row["risk_class"] for row in out.rows("users")] == [None, 2, 3]
    assert {row["valid_from"] for row in out.rows("users")} == {datetime(1970, 1, 1, tzinfo=UTC)}


@pytest.mark.parametrize(
    "end", ["9999-12-31", "9999-12-31T23:59:59", "2999-12-31", "2100-01-01", "NA"]
)
def test_a_validity_may_have_no_end(bank, end):
    bank.orders({})
    lines = f"i0,a,1900-01-01,{end}\ni1,b,2015-01-01,2021-06-30\ni2,c,2015-01-01,\n"
    (bank.folder / "products.csv").write_text("isin,title,from,to\n" + lines)
    columns = ITEMS["columns"] | {"valid_from": "from", "valid_to": "to"}
    for zone in (None, "America/New_York"):
        out = bank(tables={"items": ITEMS | {"columns": columns, "zone": zone}})
        assert first(out, "valid_to", "items") == [None, datetime(2021, 6, 30, tzinfo=UTC), None]
        assert first(out, "valid_from", "items")[0] == datetime(1970, 1, 1, tzinfo=UTC)


def test_an_open_end_in_the_words_of_the_bank_and_in_parquet(bank):
    bank.orders({})
    (bank.folder / "products.csv").write_text("isin,title,to\ni0,a,open\ni1,b,2021-06-30\ni2,c,\n")
    end = {"from": "to", "open_end": "open"}
    out = bank(tables={"items": ITEMS | {"columns": ITEMS["columns"] | {"valid_to": end}}})
    assert first(out, "valid_to", "items") == [None, datetime(2021, 6, 30, tzinfo=UTC), None]
    ends = [date(9999, 12, 31), date(2021, 6, 30), None]
    rows = pa.table({"isin": ["i0", "i1", "i2"], "title": ["a"] * 3, "to": ends})
    pq.write_table(rows, bank.folder / "products.parquet")
    columns = ITEMS["columns"] | {"valid_to": "to"}
    out = bank(tables={"items": {"file": "products.parquet", "columns": columns}})
    assert first(out, "valid_to", "items") == [None, datetime(2021, 6, 30, tzinfo=UTC), None]


SHOWN = {
    "request_id": "req", "position": "pos", "user_id": "client", "item_id": "isin",
    "event_ts": "day", "policy_id": "pol", "propensity": "prop", "context_version": "ver",
}  # fmt: skip
LISTS = {
    "|": ("i1|i0| i2", "0.5|0.3|0.2"),
    "json": ('["i1", "i0", "i2"]', "[0.5, 0.3, 0.2]"),
    "python": ("['i1', 'i0', 'i2']", "[0.5, 0.3, 2e-1]"),
    " ": ("i1 i0 i2", "[0.5 0.3 0.2]"),
    ",": ("{i1,i0,i2}", "{0.5,0.3,0.2}"),
}


def shown(bank, rows: list[tuple[str, str]], **how) -> dict:
    """Write an exposure log as CSV and map it."""
    lines = [
        "\t".join(["r" + str(n), "1", "u1", "i1", "2021-01-12", "p0", "0.5", ids, chances, "1"])
        for n, (ids, chances) in enumerate(rows)
    ]
    header = "\t".join([*[*SHOWN.values()][:7], "cand", "candp", "ver"])
    quoted = [line.replace('"', '""') for line in lines]
    quoted = ["\t".join(f'"{cell}"' for cell in line.split("\t")) for line in quoted]
    (bank.folder / "shown.csv").write_text("\n".join([header, *quoted]) + "\n")
    columns = SHOWN | {
        "candidate_ids": {"from": "cand"} | how,
        "candidate_propensities": {"from": "candp"} | how,
    }
    return {"exposures": {"file": "shown.csv", "delimiter": "\t", "columns": columns}}


@pytest.mark.parametrize("how", LISTS)
def test_lists_of_a_text_file_are_read_when_said_and_refused_when_not(bank, how):
    bank.orders({})
    assert f"say list: {how if len(how) > 1 else repr(how)}" in refusal(
        bank, tables=shown(bank, [LISTS[how]])
    )
    out = bank(tables=shown(bank, [LISTS[how]], list=how))
    (row,) = out.rows("exposures")
    assert row["candidate_ids"] == ["i1", "i0", "i2"]
    assert row["candidate_propensities"] == [0.5, 0.3, 0.2]


def test_broken_and_ragged_lists_are_rows_with_a_reason(bank):
    bank.orders({})
    rows = [("i0|i1", "0.5|0.5"), ("i0|i1", "1.0"), ("i0||i1", "0.5|0.3|0.2"), ("i0|i1", "0.5|x")]
    out = bank(tables=shown(bank, rows, list="|"))
    assert out.metrics["exposures_good"] == 1
    assert [reason for _, reason in out.reasons()] == [
        "candidate_ids: a list with a value that is no id, such as 'i0||i1'",
        "candidate_propensities: a list with a value that is no number, such as '0.5|x'",
        "candidate_propensities: not as many as candidate_ids, such as '1.0'",
    ]


def test_lists_of_parquet_are_tidied_and_judged_too(bank):
    bank.orders({})
    mapping = shown(bank, [])["exposures"] | {"file": "shown.parquet"}
    plain = {"req": ["r0", "r1", "r2"], "pos": [1] * 3, "client": ["u1"] * 3, "isin": ["i1"] * 3,
             "day": ["2021-01-12"] * 3, "pol": ["p"] * 3, "prop": [0.5] * 3, "ver": ["1"] * 3,
             "cand": [[" i1", "i2"], ["i1", None], ["i1"]],
             "candp": [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]}  # fmt: skip
    pq.write_table(pa.table(plain), bank.folder / "shown.parquet")
    out = bank(tables={"exposures": mapping})
    assert [row["candidate_ids"] for row in out.rows("exposures")] == [["i1", "i2"]]
    assert [reason for _, reason in out.reasons()] == [
        "candidate_ids: a list with a missing value",
        "candidate_propensities: not as many as candidate_ids",
    ]


def test_a_column_that_exists_twice_or_nearly_is_named(bank):
    bank.orders({})
    text = (bank.folder / "orders.csv").read_text()
    (bank.folder / "orders.csv").write_text(text.replace("client;isin", "isin;isin"))
    assert "has column isin twice: rename one" in refusal(bank, {"user_id": "day"})
    (bank.folder / "orders.csv").write_text(text.replace("client;", "Clients;"))
    line = refusal(bank)
    assert "lacks column client: rename it; found Clients, isin" in line
    assert "did you mean 'Clients'?" in line


def test_what_is_mapped_to_nothing_is_said_once(bank, caplog):
    bank.orders({})
    bank({"amount_eur": None})
    assert [line for line in caplog.messages if "value" in line] == [
        "orders.csv: not mapped: value"
    ]
