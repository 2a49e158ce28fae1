# ruff: noqa: E501 -- tables of made-up rows
"""Files of a dozen kinds are told apart and read by the mapping that was guessed."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tessera.contracts.errors import BadInput, BadParams
from tessera.platform.cli.infer import official_profiles, render, show, suggest, write
from tessera.stages.ingest.params import IngestParams

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")
N = 60
START = datetime(2021, 1, 2, 9, 30)


def moment(n: int, form: str) -> str:
    return (START + timedelta(days=5 * n, hours=n % 7)).strftime(form)


def table(path: Path, header: str, rows: list[list[object]], mark: str = ",", **how) -> None:
    lines = [mark.join(map(str, row)) for row in rows]
    path.write_text("\n".join([*([header] if header else []), *lines]) + "\n", **how)


def german(folder: Path) -> None:
    """Semicolons, decimal commas, days first, Latin letters, risk in words."""
    table(folder / "Umsaetze.csv", "Kundennr;ISIN;Buchungsdatum;Auftragsart;Betrag;Stueck", [
        [f"K{n % 9}", f"DE000{n % 5}", moment(n, "%d.%m.%Y"), "Kauf" if n % 3 else "Verkauf", f"1.{n:03d},50", n + 1]
        for n in range(N)], ";")  # fmt: skip
    table(folder / "Wertpapiere.csv", "ISIN;Bezeichnung;Gattung;Risikoklasse;Emittent", [
        [f"DE000{n}", f"Fonds Nr {n}", "Fonds", n % 5 + 1, "Haus"] for n in range(5)], ";")  # fmt: skip
    table(folder / "Kunden.csv", "Kundennr;Risikoprofil;Kundensegment", [
        [f"K{n}", ["konservativ", "ausgewogen", "chancenorientiert"][n % 3], "Privat"] for n in range(9)], ";")  # fmt: skip


def spanish(folder: Path) -> None:
    """Tabs, clocks, C and V for what was done."""
    table(folder / "operaciones.tsv", "id_cliente\tcodigo_isin\tfecha_hora\ttipo_operacion\timporte", [
        [n % 9, f"ES{n % 5}", moment(n, "%d/%m/%Y %H:%M"), "C" if n % 2 else "V", f"{n},25"]
        for n in range(N)], "\t")  # fmt: skip
    table(folder / "productos.tsv", "codigo_isin\tdenominaci\u00f3n\tclase\triesgo", [
        [f"ES{n}", f"Fondo {n}", "fondo", ["bajo", "medio", "alto"][n % 3]] for n in range(5)], "\t")  # fmt: skip


def italian(folder: Path) -> None:
    """ISO clocks without a zone, the file packed, an item without an end."""
    rows = "".join(
        f"{n % 9};IT{n % 5};{moment(n, '%Y-%m-%d %H:%M:%S')};acquisto;{n},5\n" for n in range(N)
    )
    with gzip.open(folder / "operazioni.csv.gz", "wt") as file:
        file.write("codice_cliente;codice_isin;data_ora;operazione;controvalore\n" + rows)
    table(folder / "titoli.csv", "codice_isin;descrizione;data_scadenza", [
        [f"IT{n}", f"Titolo {n}", "31/12/9999" if n else "30/06/2031"] for n in range(5)], ";")  # fmt: skip


def retail_rocket(folder: Path) -> None:
    """Milliseconds, three words for what was done, no file of items."""
    event = ["view", "addtocart", "transaction"]
    table(folder / "events.csv", "timestamp,visitorid,event,itemid,transactionid", [
        [1433221332117 + n * 86_400_000, 257597 + n % 9, event[n % 3], 355908 + n % 5, n if n % 3 == 2 else ""]
        for n in range(N)])  # fmt: skip


def uci_retail(folder: Path) -> None:
    """One file of invoices: month first, items inside it."""
    table(folder / "online_retail.csv", "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country", [
        [536365 + n, f"8512{n % 5}A", f"HOLDER {n % 5}", n % 6 + 1, (START + timedelta(days=n)).strftime("%m/%d/%Y %H:%M"), "2.55", 17850 + n % 9, "UK"]
        for n in range(N)])  # fmt: skip


def h_and_m(folder: Path) -> None:
    """Fashion: ISO days, three files in English."""
    table(folder / "transactions_train.csv", "t_dat,customer_id,article_id,price,sales_channel_id", [
        [moment(n, "%Y-%m-%d"), f"c{n % 9}", f"066{n % 5}", 0.0508, 2] for n in range(N)])  # fmt: skip
    table(folder / "articles.csv", "article_id,product_code,prod_name,product_type_name,detail_desc", [
        [f"066{n}", 663, f"Strap top {n}", "Vest top", "Jersey top"] for n in range(5)])  # fmt: skip
    table(folder / "customers.csv", "customer_id,FN,club_member_status,age", [
        [f"c{n}", 1, "ACTIVE", 30 + n] for n in range(9)])  # fmt: skip


def recbole(folder: Path) -> None:
    """Atomic files with types in the header and seconds as floats."""
    table(folder / "x.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float", [
        [n % 9, n % 5, n % 5 + 1, 881250949 + n * 90_000.0] for n in range(N)], "\t")  # fmt: skip
    table(folder / "x.item", "item_id:token\tmovie_title:token_seq\tclass:token_seq", [
        [n, f"Film {n}", "Drama"] for n in range(5)], "\t")  # fmt: skip


def warehouse(folder: Path) -> None:
    """Parquet in parts, typed times, closes in a file of their own, somebody's notes."""
    for part in range(2):
        rows = range(part * 30, part * 30 + 30)
        pq.write_table(pa.table({
            "account_id": [f"a{n % 9}" for n in rows], "isin": [f"X{n % 5}" for n in rows],
            "executed_at": [START + timedelta(days=n) for n in rows], "side": ["BUY", "SELL"] * 15,
            "quantity": [float(n) for n in rows]}), folder / f"trades-{part}.parquet")  # fmt: skip
    pq.write_table(pa.table({"isin": [f"X{n}" for n in range(5)], "title": ["t"] * 5}), folder / "securities.parquet")  # fmt: skip
    table(folder / "quotes.csv", "isin,date,close", [
        [f"X{n % 5}", moment(n, "%Y-%m-%d"), 10 + n / 4] for n in range(N)])  # fmt: skip
    (folder / "README.txt").write_text("who, what\nlook, here\n")


def shown(folder: Path) -> None:
    """An exposure log with lists as JSON beside the orders."""
    h_and_m(folder)
    lists = json.dumps(["0660", "0661"]), json.dumps([0.5, 0.5])
    quoted = ['"' + text.replace('"', '""') + '"' for text in lists]
    table(folder / "impressions.csv", "request_id,position,customer_id,article_id,shown_at,policy,propensity,candidates,candidate_propensities", [
        [f"r{n}", 1, f"c{n % 9}", "0660", moment(n, "%Y-%m-%d"), "p0", 0.5, *quoted] for n in range(20)])  # fmt: skip


def old_beside_new(folder: Path) -> None:
    """An older copy of the same file must not be read instead."""
    h_and_m(folder)
    table(folder / "transactions_old.csv", "t_dat,customer_id,article_id,price,sales_channel_id", [
        [moment(n, "%Y-%m-%d"), f"c{n % 9}", f"066{n % 5}", 1, 2] for n in range(3 * N)])  # fmt: skip


def windows(folder: Path) -> None:
    """Letters of Windows and names that only their values explain."""
    table(folder / "orders.csv", "client;product;day;eur", [
        [f"M\u00fcller{n % 9}", f"p{n % 5}", moment(n, "%Y-%m-%d"), f"{n}.5"] for n in range(N)],
        ";", encoding="cp1252")  # fmt: skip
    table(folder / "products.csv", "key;title", [[f"p{n}", f"Fonds {n}"] for n in range(5)], ";")


def swiss(folder: Path) -> None:
    """Apostrophes around values, in figures and before ids; francs and percent."""
    table(folder / "orders.csv", "'client';'isin';'date';'amount';'quantity'", [
        [f"'c{n % 9}'", f"'00{n % 5}'", f"'{moment(n, '%Y-%m-%d')}'", f"'CHF 1''{n:03d}.50'", f"'{n},5 %'"]
        for n in range(N)], ";")  # fmt: skip
    table(folder / "products.csv", "isin,title", [[f"'00{n}", f"Fonds's {n}"] for n in range(5)])


CASES = {
    swiss: {
        "events": {
            "user_id": "client", "item_id": "isin", "event_ts": "date",
            "amount_eur": {"from": "amount", "decimal": ".", "thousands": "'", "currency": ["CHF"]},
            "units": {"from": "quantity", "decimal": ",", "percent": True},
        },
        "items": {"item_id": {"from": "isin", "guard": "'"}, "name": "title"},
    },
    german: {
        "events": {
            "user_id": "Kundennr", "item_id": "ISIN", "units": "Stueck",
            "event_ts": {"from": "Buchungsdatum", "format": "%d.%m.%Y"},
            "action": {"from": "Auftragsart", "values": {"Kauf": "buy", "Verkauf": "sell"}},
            "amount_eur": {"from": "Betrag", "decimal": ",", "thousands": "."},
        },
        "items": {
            "item_id": "ISIN", "name": "Bezeichnung", "category": "Gattung", "issuer": "Emittent",
            "risk_class": {"from": "Risikoklasse", "values": {"1": 1, "2": 2, "3": 3, "4": 4, "5": 4}},
        },
        "users": {
            "user_id": "Kundennr", "segment": "Kundensegment",
            "risk_class": {"from": "Risikoprofil", "values": {"konservativ": 1, "ausgewogen": 3, "chancenorientiert": 4}},
        },
    },
    spanish: {
        "events": {
            "user_id": "id_cliente", "item_id": "codigo_isin",
            "event_ts": {"from": "fecha_hora", "format": "%d/%m/%Y %H:%M"},
            "action": {"from": "tipo_operacion", "values": {"C": "buy", "V": "sell"}},
            "amount_eur": {"from": "importe", "decimal": ","},
        },
        "items": {
            "item_id": "codigo_isin", "name": "denominaci\u00f3n", "category": "clase",
            "risk_class": {"from": "riesgo", "values": {"bajo": 1, "medio": 3, "alto": 4}},
        },
    },
    italian: {
        "events": {
            "user_id": "codice_cliente", "item_id": "codice_isin", "event_ts": "data_ora",
            "action": {"from": "operazione", "values": {"acquisto": "buy"}},
            "amount_eur": {"from": "controvalore", "decimal": ","},
        },
        "items": {
            "item_id": "codice_isin", "name": "descrizione",
            "valid_to": {"from": "data_scadenza", "format": "%d/%m/%Y"},
        },
    },
    retail_rocket: {
        "events": {
            "user_id": "visitorid", "item_id": "itemid", "event_ts": {"from": "timestamp", "unit": "ms"},
            "action": {"from": "event", "values": {"view": "view", "addtocart": "click", "transaction": "buy"}},
        },
        "items": {"item_id": "itemid"},
    },
    uci_retail: {
        "events": {
            "user_id": "CustomerID", "item_id": "StockCode", "units": "Quantity", "amount_eur": "UnitPrice",
            "event_ts": {"from": "InvoiceDate", "format": "%m/%d/%Y %H:%M"},
        },
        "items": {"item_id": "StockCode", "name": "Description"},
    },
    h_and_m: {
        "events": {
            "user_id": "customer_id", "item_id": "article_id", "event_ts": "t_dat", "amount_eur": "price",
            "channel": "sales_channel_id",
        },
        "items": {"item_id": "article_id", "name": "prod_name", "subcategory": "product_type_name", "text": "detail_desc"},
        "users": {"user_id": "customer_id", "segment": "club_member_status"},
    },
    recbole: {
        "events": {
            "user_id": "user_id:token", "item_id": "item_id:token", "units": "rating:float",
            "event_ts": {"from": "timestamp:float", "unit": "s"},
        },
        "items": {"item_id": "item_id:token", "name": "movie_title:token_seq", "category": "class:token_seq"},
    },
    warehouse: {
        "events": {
            "user_id": "account_id", "item_id": "isin", "event_ts": "executed_at", "units": "quantity",
            "action": {"from": "side", "values": {"BUY": "buy", "SELL": "sell"}},
        },
        "items": {"item_id": "isin", "name": "title"},
        "prices": {"item_id": "isin", "price_ts": "date", "close_eur": "close"},
    },
    windows: {
        "events": {"user_id": "client", "item_id": "product", "event_ts": "day", "amount_eur": "eur"},
        "items": {"item_id": "key", "name": "title"},
    },
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "export"
    made.mkdir()
    return made


def guessed(folder: Path) -> dict:
    return yaml.safe_load(render(suggest(folder), folder))["ingest"]["mapping"]


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_columns_and_the_way_they_are_written_are_guessed(folder, make):
    make(folder)
    found = guessed(folder)
    assert {name: one["columns"] for name, one in found.items()} == CASES[make]


@pytest.mark.parametrize("make", [*CASES, shown], ids=lambda make: make.__name__)
def test_what_was_guessed_can_be_ingested_without_a_change(folder, make, ingest):
    make(folder)
    section = yaml.safe_load(render(suggest(folder), folder))["ingest"]
    out = ingest(folder, section.pop("source"), **section)
    assert out.metrics["events_good"] == N
    assert out.metrics["rows_quarantined"] == 0


def test_lists_of_an_exposure_log_are_guessed(folder):
    shown(folder)
    found = guessed(folder)["exposures"]
    assert found["columns"]["candidate_ids"] == {"from": "candidates", "list": "json"}
    assert found["constants"] == {"context_version": "0"}


def test_an_older_copy_is_left_out_and_named(folder):
    old_beside_new(folder)
    found = suggest(folder)
    assert guessed(folder)["events"]["file"] == "transactions_train.csv"
    assert any(
        note.startswith("transactions_old.csv: looks like events too") for note in found.notes
    )


def test_parts_are_one_table(folder):
    warehouse(folder)
    assert guessed(folder)["events"]["file"] == "trades-*.parquet"


def test_day_and_month_that_nothing_tells_apart_are_unsure_with_both_ways(folder):
    h_and_m(folder)
    table(folder / "transactions_train.csv", "date,customer_id,article_id", [
        [f"0{n % 9 + 1}/0{n % 7 + 1}/2021", f"c{n % 9}", f"066{n % 5}"] for n in range(N)])  # fmt: skip
    line = next(line for line in render(suggest(folder), folder).splitlines() if "event_ts" in line)
    assert "format: '%d/%m/%Y'" in line
    assert line.endswith("# unsure (by its name): or '%m/%d/%Y'")


def _numbered(folder, header=""):
    """MovieLens 1M's way: users and films are numbers from 1, and no file has a header."""
    table(folder / "movies.txt", "", [[n, f"Film {n} (1999)", "Drama"] for n in range(1, 40)], "::")
    table(folder / "users.txt", "", [[n, "FM"[n % 2], 10_000 + n] for n in range(1, 50)], "::")
    table(folder / "ratings.txt", header, [
        [n % 49 + 1, n % 39 + 1, n % 5 + 1, 978_300_000 + 7 * n] for n in range(600)], "::")  # fmt: skip


def test_ids_that_users_and_items_share_are_not_swapped_silently(folder):
    _numbered(folder)
    lines = render(suggest(folder), folder).splitlines()
    same = "users and items have the same ids"
    first = lines.index(next(line for line in lines if "user_id: '1'" in line))
    assert lines[first].endswith(f"or column 2: {same}")
    assert lines[first + 1].strip().startswith("item_id: '2'  # unsure")
    assert lines[first + 1].endswith(f"or column 1: {same}")


def test_ids_that_are_named_leave_no_doubt_whose_they_are(folder):
    _numbered(folder, "user_id::movie_id::rating::timestamp")
    assert "the same ids" not in render(suggest(folder), folder)


def test_what_is_printed_breaks_no_word_at_80_columns(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    german(folder)
    show(suggest(folder))
    told = capsys.readouterr().out
    assert all(len(line) <= 80 for line in told.splitlines() if not line.startswith("events:"))
    for word in ("events: Umsaetze.csv", "Buchungsdatum", "event_ts"):
        assert word in told, told
    assert "unsure" in told
    monkeypatch.setenv("COLUMNS", "200")
    show(suggest(folder))
    assert "{format: '%d.%m.%Y'}" in capsys.readouterr().out


def test_a_clock_without_a_zone_is_unsure(folder):
    italian(folder)
    line = next(line for line in render(suggest(folder), folder).splitlines() if "event_ts" in line)
    assert "zone: UTC is taken" in line


def test_a_folder_without_events_is_refused_with_what_is_in_it(folder):
    table(folder / "weather.csv", "city,degrees", [["Oslo", 3], ["Rome", 20]])
    (folder / "one.txt").write_text("alone\nalone\n")
    with pytest.raises(BadInput, match="weather.csv: fits no table") as caught:
        suggest(folder)
    assert "one.txt: no table" in str(caught.value)


def test_a_clock_under_a_name_that_nobody_knows_is_a_time_and_a_birthday_is_none(folder):
    german(folder)
    orders = folder / "Umsaetze.csv"
    rows = [
        [f"K{n % 9}", "01.02.1980", f"DE000{n % 5}", moment(n, "%d.%m.%Y %H:%M")] for n in range(N)
    ]
    table(orders, "Kundennr;Geboren;ISIN;Erfasst", rows, ";")
    found = guessed(folder)["events"]["columns"]
    assert found["event_ts"] == {"from": "Erfasst", "format": "%d.%m.%Y %H:%M"}


def test_a_bank_that_books_at_an_hour_is_understood_by_name(folder):
    german(folder)
    orders = folder / "Umsaetze.csv"
    orders.write_text(orders.read_text().replace("Buchungsdatum", "Ausf\u00fchrungszeit"))
    lines = render(suggest(folder), folder)
    assert "event_ts: {from: Ausf\u00fchrungszeit" in lines
    assert "by its values" not in lines


def test_a_trade_is_worth_its_notional_and_not_its_price(folder):
    rows = [
        [n % 9, f"P{n % 5}", moment(n, "%Y-%m-%dT%H:%M:%SZ"), n + 1.5, 3 * n + 4.5]
        for n in range(N)
    ]
    table(folder / "trades.csv", "customer_id,product,executed_at,price,notional", rows)
    assert guessed(folder)["events"]["columns"]["amount_eur"] == "notional"


def test_what_a_file_lacks_to_be_events_is_told(folder):
    german(folder)
    orders = folder / "Umsaetze.csv"
    orders.write_text(orders.read_text().replace("Buchungsdatum", "Laune").replace(".20", "/x"))
    with pytest.raises(BadInput) as caught:
        suggest(folder)
    told = str(caught.value)
    assert "Umsaetze.csv: says who (Kundennr), what (ISIN), and no column when (event_ts)" in told
    assert "Kunden.csv: says" not in told


def test_a_profile_is_written_once_and_loads(folder, tmp_path):
    german(folder)
    path = tmp_path / "bank.yaml"
    write(suggest(folder), folder, path)
    params = IngestParams(**yaml.safe_load(path.read_text())["ingest"])
    assert params.mapping["users"].columns["risk_class"].values["ausgewogen"] == "3"
    assert "# unsure" in path.read_text()
    with pytest.raises(BadParams, match="bank.yaml exists"):
        write(suggest(folder), folder, path)
    with pytest.raises(BadParams, match="small letters"):
        write(suggest(folder), folder, tmp_path / "My Bank.yaml")


@pytest.mark.parametrize(
    ("source", "profile"),
    [("far_trans", "far-trans"), ("movielens", "movielens"), ("amazon", "amazon")],
)
def test_official_files_are_told_by_the_profile_that_reads_them(
    source, profile, request, repository
):
    assert list(official_profiles(request.getfixturevalue(source))) == [profile]
    assert (repository / "profiles" / f"{profile}.yaml").exists()


def test_a_folder_of_ones_own_is_no_official_one(market):
    assert list(official_profiles(market)) == []
