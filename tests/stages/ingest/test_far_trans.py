"""FAR-Trans under its official names."""

from __future__ import annotations

from datetime import UTC, datetime

import ibis
import pyarrow.parquet as pq
import pytest

from tessera.contracts.errors import BadParams
from tessera.contracts.split import load_split, test
from tessera.stages.ingest.far_trans import risk_class

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

test.__test__ = False  # a function of the split, not one of pytest's


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def out(ingest, far_trans):
    return ingest(far_trans, "far_trans")


def test_trades_and_reconstructed_rows_become_events(out):
    events = {row["event_id"]: row for row in out.rows("events")}
    assert list(events) == [
        "C3-0000R0000000",
        "C1-000000000900",
        "C1-000000001001",
        "C3-0000R0000001",
        "C2-000000000900",
        "C2-000000000902",
    ]
    trade = events["C1-000000000900"]
    assert (trade["action"], trade["time_kind"], trade["amount_eur"], trade["units"]) == (
        "buy",
        "exact",
        100.5,
        10.0,
    )
    snapshot = events["C3-0000R0000001"]
    assert (snapshot["time_kind"], snapshot["amount_eur"], snapshot["units"]) == (
        "snapshot",
        None,
        None,
    )
    assert snapshot["event_ts"] == _moment("2021-07-01")


def test_only_reconstructed_rows_may_lack_units_or_value(ingest, far_trans):
    path = far_trans / "transactions.csv"
    path.write_text(path.read_text().replace(",100.5,10,", ",,10,").replace(",50,5,", ",50,,"))
    reason = "units, totalValue: only a reconstructed row may lack them"
    assert ingest(far_trans, "far_trans").reasons().count(("events", reason)) == 2


def test_a_risk_level_is_unknown_until_its_questionnaire_was_answered(out):
    users = {row["user_id"]: row for row in out.rows("users")}
    assert users["C1"]["valid_from"] == _moment("2021-11-30")
    assert (users["C1"]["risk_class"], users["C1"]["capacity_class"]) == (3, 3)
    assert users["C2"]["valid_from"] == _moment("2018-01-02")
    assert (users["C2"]["risk_class"], users["C2"]["capacity_class"]) == (2, 1)
    assert (users["C3"]["risk_class"], users["C3"]["capacity_class"]) == (None, None)


def test_the_earliest_description_of_an_asset_is_kept(out):
    items = {row["item_id"]: row for row in out.rows("items")}
    assert items["I2"]["name"] == "Beta Fund"
    assert items["I1"]["text"] == "Alpha, SA ALPHA Stock Energy Power"
    assert items["I1"]["valid_from"] == _moment("2018-01-02")
    assert out.reasons() == [("items", "ISIN: a later description; the earliest is kept")]


def test_the_default_cut_is_the_papers_and_its_day_belongs_to_training(out):
    assert out.split.cut == _moment("2021-07-01")
    assert out.split.test_until == datetime(2021, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    connection = ibis.duckdb.connect()
    events = connection.read_parquet(out.folder / "events.parquet")
    held_out = test(events, load_split(out.folder / "split.json")).event_id.to_pyarrow().to_pylist()
    connection.disconnect()
    assert sorted(held_out) == ["C2-000000000900", "C2-000000000902"]


def test_a_cut_on_the_last_day_of_a_half_year_is_tested_on_the_next(ingest, far_trans):
    split = ingest(far_trans, "far_trans", cut="2021-06-30").split
    assert split.test_until == datetime(2021, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def test_an_empty_test_period_stops_before_any_other_work(ingest, far_trans, tmp_path):
    with (far_trans / "transactions.csv").open("a") as file:
        file.write("C4,I1,903,Buy,2022-07-05,10,1,Branch,M1\n")
    with pytest.raises(BadParams, match="the test period from 2021-12-31"):
        ingest(far_trans, "far_trans", cut="2021-12-31")
    written = {path.name for path in (tmp_path / "out0").glob("*.parquet")}
    assert "events.parquet" in written
    assert not {"exposures.parquet", "outcomes.parquet"} & written


def test_limit_prices_changes_nothing(ingest, far_trans):
    before = ingest(far_trans, "far_trans").bytes()
    (far_trans / "limit_prices.csv").write_text("ISIN,profitability\nI1,99\n")
    assert ingest(far_trans, "far_trans").bytes() == before


def test_the_order_of_rows_in_the_files_does_not_matter(ingest, far_trans, out):
    for name in ("transactions.csv", "asset_information.csv", "customer_information.csv"):
        header, *rows = (far_trans / name).read_text().splitlines()
        (far_trans / name).write_text("\n".join([header, *rows[::-1]]) + "\n")
    again = ingest(far_trans, "far_trans").bytes()
    kept = {name: data for name, data in out.bytes().items() if name != "quarantine.parquet"}
    assert {name: again[name] for name in kept} == kept


def test_impossible_dates_words_for_numbers_and_broken_lines_are_rows_with_a_reason(
    ingest, far_trans
):
    with (far_trans / "transactions.csv").open("a") as file:
        file.write("C4,I1,1,Buy,2021-02-30,10,1,Branch,M1\n")
        file.write("C4,I1,2,Buy,3021-02-03,10,1,Branch,M1\n")
        file.write("C4,I1,3,Buy,2021-02-03,ten,1,Branch,M1\n")
        file.write("C4,I1,4,Buy,2021-02-03,10,1,Branch,M1,9,9\n")
        file.write("C4,I1,5,Swap,2021-02-03,10,1,Branch,M1\n")
        file.write("C4,I1,6,Buy,2021-02-03,nan,-1,Branch,M1\n")
        file.write("C1,I1,900,Buy,2021-03-01,100.5,11,Internet Banking,M1\n")
    out = ingest(far_trans, "far_trans")
    aside = [
        (row["source_row"], row["reason"])
        for row in out.rows("quarantine")
        if row["table"] == "events"
    ]
    key = "key (customerID, transactionID): rows differ"
    assert sorted(aside) == [
        (1, key),
        (5, "event_ts: not an ISO date, such as '2021-02-30'"),
        (6, "event_ts: outside 1970 to 2100, such as '3021-02-03'"),
        (7, "amount_eur: not a number, such as 'ten'"),
        (8, "line has 11 values instead of 9"),
        (9, "action: not one of view, click, buy, sell, dismiss, rate, such as 'swap'"),
        (10, "amount_eur: NaN or infinite, such as 'nan'"),
        (11, key),
    ]
    assert out.metrics["events_in"] == 6 + 7
    assert out.metrics["events_good"] == 5


def test_assets_are_rated_by_what_they_are():
    rows = ibis.memtable(
        {
            "category": ["Stock", "Bond", "Bond", "MTF", "MTF", "MTF", "MTF", None],
            "subcategory": [
                None,
                "Government",
                "Corporate",
                "Money Market",
                "Bonds",
                "Equity",
                "Other",
                None,
            ],
        }
    )
    rated = rows.select(risk=risk_class(rows.category, rows.subcategory))
    assert rated.to_pyarrow()["risk"].to_pylist() == [4, 1, 2, 1, 2, 3, None, None]


@pytest.mark.real_data
def test_the_official_files_come_in_whole(ingest, official):
    out = ingest(official / "far-trans", "far_trans")
    assert out.metrics["events_in"] == 88_214 + 61_539
    assert out.metrics["events_good"] == 88_214 + 61_539
    assert out.metrics["items_good"] == 806
    assert out.metrics["items_quarantined"] == 30
    assert out.metrics["users_in"] == 32_468
    assert out.metrics["users_quarantined"] == 520
    assert set(out.reasons()) == {
        ("items", "ISIN: a later description; the earliest is kept"),
        ("users", "duplicate"),
    }
    kinds = pq.read_table(out.folder / "events.parquet", columns=["time_kind"])["time_kind"]
    counts = {row["values"]: row["counts"] for row in kinds.value_counts().to_pylist()}
    assert counts == {"exact": 88_214, "snapshot": 61_539}
