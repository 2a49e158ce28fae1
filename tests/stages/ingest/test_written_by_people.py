"""Numbers beside a currency or in percent, guarded values, and dates in a wrong order."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.contracts.errors import BadInput
from tessera.contracts.tables import TABLES
from tessera.stages.ingest import losses
from tessera.stages.ingest.columns import ColumnMapping
from tessera.stages.ingest.kinds import NumberReader, TimeReader
from tessera.stages.ingest.values import TextReader

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")
COLUMNS = {column.name: column for column in TABLES["events"].columns}


def reader(kind: type, column: str = "units", **how):
    return kind("o.csv", f"ingest.{column}", COLUMNS[column], ColumnMapping(**{"from": "x"} | how))


def numbers(texts: list[str], column: str = "units", **how) -> list[float | str | None]:
    """Read numbers; a fault stands in place of the value."""
    one = reader(NumberReader, column, **how)
    read = one.read(pa.array(texts))
    one.finish()
    pairs = zip(read.value.to_pylist(), read.fault.to_pylist(), strict=True)
    return [fault or (value and float(value)) for value, fault in pairs]


WRITTEN = [
    (["12,34,567.50", "1,23,456", "7"], {"thousands": ","}, [1234567.5, 123456, 7]),
    (["1.234,50", "12.34.567,5"], {"thousands": "."}, [1234.5, 1234567.5]),
    (["CHF 12.50", "12.50 CHF", "-CHF 3", "CHF -3", "(CHF 3)", "3- CHF", "4"],
     {"currency": "CHF"}, [12.5, 12.5, -3, -3, -3, -3, 4]),
    (["$12", "-$1,234.50", "7 USD"], {"currency": ["$", "USD"], "thousands": ","},
     [12, -1234.5, 7]),
    (["CHF 1'234.50"], {"currency": "CHF", "thousands": "'"}, [1234.5]),
    (["R$ 1.234,50"], {"currency": "R$", "decimal": ",", "thousands": "."}, [1234.5]),
    (["12.5%", "7 %", "-0.1%", "(2%)"], {"percent": True}, [0.125, 0.07, -0.001, -0.02]),
    (["12,5 %", "1.000 %"], {"percent": True, "thousands": "."}, [0.125, 10]),
]  # fmt: skip


@pytest.mark.parametrize(("texts", "how", "meant"), WRITTEN)
def test_numbers_are_read_by_what_stands_beside_them(texts, how, meant):
    assert numbers(texts, **how) == meant


PLAIN = [str(number) for number in range(1, 40)]
CURRENCY = "units: a currency that `currency` does not name"
PERCENT = "units: a percentage, which only `percent` reads"


@pytest.mark.parametrize(
    ("text", "how", "told"),
    [
        ("CHF 12.50", {}, CURRENCY),
        ("12.50 EUR", {}, CURRENCY),
        ("$12", {}, CURRENCY),
        ("12 USD", {"currency": "CHF"}, CURRENCY),
        ("12.5%", {}, PERCENT),
        ("12,5 %", {"decimal": ","}, PERCENT),
        ("1.23,5", {"decimal": ","}, "units: not a number"),
        ("1,2,345", {"thousands": ","}, "units: not a number"),
        ("12,34", {"thousands": ","}, "units: not a number"),
    ],
)
def test_a_single_number_with_something_beside_it_names_the_option(text, how, told):
    assert numbers([*PLAIN, text], **how)[-1] == told


def test_a_number_without_its_percent_is_set_aside_and_so_is_a_float():
    told = "units: no percentage, as `percent` says"
    assert numbers(["12%", "0.12"], percent=True) == [0.12, told]
    read = reader(NumberReader, percent=True).read(pa.array([0.12]))
    assert read.fault.to_pylist() == [told]


def test_an_amount_in_euros_of_another_currency_is_no_amount():
    assert numbers([*PLAIN, "12 EUR", "-\u20ac3"], "amount_eur")[-2:] == [12, -3]
    (*_, told) = numbers([*PLAIN, "12 USD"], "amount_eur")
    assert told == "amount_eur: a currency that `currency` does not name"
    (*_, told) = numbers([*PLAIN, "12 EUR"], "amount_eur", currency="CHF")
    assert told == "amount_eur: a currency that `currency` does not name"


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["CHF 12.50", "3"], "'CHF 12.50': say currency: 'CHF' in ingest.units"),
        (["3 EUR", "USD 4"], "'3 EUR': say currency: 'EUR' (it holds USD too: convert them first)"),
        (["12.5%", "3"], "'12.5%': say percent: true in ingest.units"),
        (["12,34,567.50", "3"], "'12,34,567.50': say thousands: ',' in ingest.units"),
    ],
)
def test_a_column_full_of_signs_is_refused_with_the_option(texts, told):
    with pytest.raises(BadInput) as caught:
        numbers(texts)
    assert str(caught.value).startswith(f"o.csv: column x holds {told}")


@pytest.mark.parametrize("option", ["12", "", ".", "%", "-"])
def test_a_currency_that_is_part_of_a_number_is_refused(option):
    with pytest.raises(ValueError, match="is no name or sign of one"):
        ColumnMapping(**{"from": "x", "currency": option})


def test_a_guard_is_taken_away_and_stays_where_nobody_names_it():
    texts = pa.array(["'007", "'o'", "7", "'", "'NA"])
    kept = reader(TextReader, "user_id").read(texts).value.to_pylist()
    assert kept == ["'007", "'o'", "7", "'", "'NA"]
    said = reader(TextReader, "user_id", guard="'").read(texts)
    assert said.value.to_pylist() == ["007", "o'", "7", None, None]
    assert said.text.to_pylist()[0] == "'007", "quarantine keeps what the file says"
    assert numbers(["'12.5", "3"], guard="'") == [12.5, 3]
    read = reader(TimeReader, "event_ts", guard="'").read(pa.array(["'2021-01-02"]))
    assert read.value.to_pylist() == ["2021-01-02"]


ITEMS = {"item_id": "isin", "name": "title", "valid_from": "from", "valid_to": "to"}


def test_what_people_write_goes_through_ingest(ingest, tmp_path):
    """Apostrophes around values, francs, percent, and an item that ends before it begins."""
    folder = tmp_path / "bank"
    folder.mkdir()
    rows = [
        f"'u{n % 4}','i{n % 2}','2021-02-{n + 1:02d}','CHF {n + 1}','{n},5 %'" for n in range(20)
    ]
    (folder / "orders.csv").write_text("\n".join(["'c','i','d','v','u'", *rows]) + "\n")
    lines = ["isin,title,from,to", "i0,it's,2021-01-02,2021-01-02", "i1,b,,2021-01-01",
             "i2,c,2021-01-02,2021-01-01"]  # fmt: skip
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    columns = {
        "user_id": "c", "item_id": "i", "event_ts": "d",
        "amount_eur": {"from": "v", "currency": "CHF"},
        "units": {"from": "u", "percent": True, "decimal": ","},
    }  # fmt: skip
    events = {"file": "orders.csv", "quote": "'", "columns": columns}
    mapping = {"events": events | {"constants": {"action": "buy"}},
               "items": {"file": "items.csv", "columns": ITEMS}}  # fmt: skip
    out = ingest(folder, "table", mapping=mapping)
    found = sorted(out.rows("events"), key=lambda row: row["event_id"])
    assert [row["user_id"] for row in found[:3]] == ["u0", "u1", "u2"]
    assert [row["amount_eur"] for row in found] == [float(n + 1) for n in range(20)]
    assert [row["units"] for row in found] == [(10 * n + 5) / 1000 for n in range(20)]
    assert [row["name"] for row in out.rows("items")] == ["it's", "b"]
    assert out.reasons() == [("items", "valid_to: before valid_from, such as '2021-01-01'")]
    assert out.metrics["events_in"] == out.metrics["events_good"] == 20


MANY = "candidate_propensities: not as many as candidate_ids"
SHOWN = {
    "right": (["i1", "i2"], [0.5, 0.5], None),
    "rounded": (["i1", "i2"], [0.5000001, 0.4999999], None),
    "more chances": (["i1", "i2"], [0.5, 0.3, 0.2], MANY),
    "twice": (["i1", "i1"], [0.5, 0.5], "candidate_ids: an item twice"),
    "outside, for the gate to see": (["i2", "i3"], [0.5, 0.5], None),
    "another chance, for the gate to see": (["i1", "i2"], [0.4, 0.6], None),
}  # fmt: skip


def test_a_candidate_set_that_cannot_be_read_is_set_aside(ingest, market, change):
    def log(rows: list[dict]) -> list[dict]:
        return [
            rows[0] | {"request_id": name, "candidate_ids": ids, "candidate_propensities": chances}
            for name, (ids, chances, _) in SHOWN.items()
        ]

    change("exposures", log)
    out = ingest(market, "market")
    good = {name for name, (*_, reason) in SHOWN.items() if reason is None}
    assert {row["request_id"] for row in out.rows("exposures")} == good
    told = [reason for *_, reason in SHOWN.values() if reason]
    assert sorted(reason for table, reason in out.reasons() if table == "exposures") == sorted(told)


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("candidate_ids: an item twice", "list each candidate once"),
        ("valid_to: before valid_from, such as '2021-01-01'", "say open_end in ingest.mapping.x"),
        (f"{PERCENT}, such as '3%'", "say `percent` in ingest.mapping.x"),
        (f"{CURRENCY}, such as 'CHF 3'", "say `currency` in ingest.mapping.x"),
        ("event_ts: not a time like %d, such as '3'", "say the format of these too in"),
    ],
)
def test_each_reason_has_a_remedy_of_its_own(reason, remedy):
    assert remedy in losses._remedy(losses.Loss("x", reason, 1, "f", 1, None, None))


@pytest.mark.parametrize(
    ("column", "array", "told"),
    [
        ("amount_eur", pa.array([[1.0]]), "list<.*>, should hold numbers: write one value a row"),
        ("amount_eur", pa.array([True]), "bool, should hold numbers: write it as 1 and 0"),
        ("event_ts", pa.array([[1]]), "list<.*>, should hold times: write one value a row"),
        ("event_ts", pa.array([True]), "bool, should hold times: write it as 1 and 0"),
        ("user_id", pa.array([["a"]]), "list<.*>, should hold text: write one value a row"),
        ("channel", pa.array([["a"]]), "list<.*>, should hold text: write one value a row"),
    ],
)
def test_a_type_of_parquet_that_no_column_reads_is_named(ingest, tmp_path, column, array, told):
    plain = {"u": ["u"], "i": ["i"], "d": ["2021-01-01"], "x": array}
    pq.write_table(pa.table(plain), tmp_path / "o.parquet")
    columns = {"user_id": "u", "item_id": "i", "event_ts": "d"} | {column: "x"}
    events = {"file": "o.parquet", "columns": columns, "constants": {"action": "buy"}}
    items = {"file": "o.parquet", "columns": {"item_id": "i"}}
    with pytest.raises(BadInput, match=rf"^o\.parquet: column x holds {told}"):
        ingest(tmp_path, "table", mapping={"events": events, "items": items})


def test_booleans_are_numbers_where_values_say_so(ingest, tmp_path):
    days = [f"2021-01-{n + 1:02d}" for n in range(20)]
    plain = {"u": ["u"] * 20, "i": ["i"] * 20, "d": days, "x": [True, False] * 10}
    pq.write_table(pa.table(plain), tmp_path / "o.parquet")
    units = {"from": "x", "values": {"true": "1", "false": "0"}}
    columns = {"user_id": "u", "item_id": "i", "event_ts": "d", "units": units}
    events = {"file": "o.parquet", "columns": columns, "constants": {"action": "buy"}}
    items = {"file": "o.parquet", "columns": {"item_id": "i"}, "distinct": True}
    out = ingest(tmp_path, "table", mapping={"events": events, "items": items})
    assert [row["units"] for row in out.rows("events")] == [1.0, 0.0] * 10
