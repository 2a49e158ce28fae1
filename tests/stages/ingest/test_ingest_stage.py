"""What enters ingest leaves it, once, sorted, and equal whatever the order of the source."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.tables import TABLES
from tessera.stages.ingest.stage import ORDER

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

START = datetime(2024, 1, 1, tzinfo=UTC)


def test_every_table_is_written_with_its_contract_and_nothing_else_is_left(ingest, market):
    out = ingest(market, "market")
    names = (*ORDER, "quarantine")
    assert sorted(path.name for path in out.folder.iterdir()) == sorted(
        [*(f"{name}.parquet" for name in names), "split.json", "suitability.json"]
    )
    for name in names:
        assert pq.read_schema(out.folder / f"{name}.parquet").equals(schema(TABLES[name]))
    assert out.metrics["events_in"] == out.metrics["events_good"] == 10
    assert out.metrics["rows_quarantined"] == 0


def test_the_same_input_gives_the_same_bytes_with_any_number_of_threads(ingest, market):
    assert (
        ingest(market, "market", threads=1).bytes() == ingest(market, "market", threads=3).bytes()
    )


def test_the_order_of_the_source_does_not_matter(ingest, market, change, rng):
    before = ingest(market, "market").bytes()
    for name in ("events", "items", "exposures"):
        change(name, lambda rows: [rows[place] for place in rng.permutation(len(rows))])
    assert ingest(market, "market").bytes() == before


def test_late_events_land_where_they_belong(ingest, market, change):
    change("events", lambda rows: [*rows[3:], *rows[:3]])
    moments = [row["event_ts"] for row in ingest(market, "market").rows("events")]
    assert moments == sorted(moments)


FAULTS = [
    ({"user_id": None}, "user_id: missing"),
    ({"user_id": ""}, "user_id: missing"),
    (
        {"action": "purchase"},
        "action: not one of view, click, buy, sell, dismiss, rate, such as 'purchase'",
    ),
    ({"amount_eur": -1.0}, "amount_eur: below 0"),
    ({"amount_eur": float("nan")}, "amount_eur: NaN or infinite"),
    ({"units": float("inf")}, "units: NaN or infinite"),
    ({"item_id": "i9"}, "item_id: not in items"),
    ({"event_ts": datetime(1899, 12, 30, tzinfo=UTC)}, "event_ts: outside 1970 to 2100"),
    ({"event_ts": datetime(3021, 1, 1, tzinfo=UTC)}, "event_ts: outside 1970 to 2100"),
]


def test_rows_that_break_a_rule_are_set_aside_with_their_reason(ingest, market, change):
    clean = ingest(market, "market").rows("events")
    broken = [fault | {"event_id": f"x{number}"} for number, (fault, _) in enumerate(FAULTS)]
    change("events", lambda rows: [*rows, *(rows[0] | fault for fault in broken)])
    out = ingest(market, "market")
    aside = out.rows("quarantine")
    assert [row["reason"] for row in aside] == [reason for _, reason in FAULTS]
    assert [row["source_row"] for row in aside] == list(range(11, 11 + len(FAULTS)))
    assert {(row["table"], row["source_file"]) for row in aside} == {("events", "events.parquet")}
    assert [json.loads(row["row"])["event_id"] for row in aside] == [
        row["event_id"] for row in broken
    ]
    assert out.rows("events") == clean
    assert out.metrics["events_in"] == len(clean) + len(FAULTS)


def test_links_are_read_where_there_are_some_and_bad_ones_set_aside(ingest, market, change):
    assert ingest(market, "market").rows("links") == [], "no file is no link, and no error"
    link = {"item_id": "i1", "relation": "country", "target_id": "IT", "valid_from": None}
    broken = [link | {"item_id": "i9"}, link | {"target_id": None}, link]
    change("links", lambda none: [*none, link, *broken])
    out = ingest(market, "market")
    assert out.rows("links") == [link]
    assert [(row["table"], row["source_row"], row["reason"]) for row in out.rows("quarantine")] == [
        ("links", 2, "item_id: not in items"), ("links", 3, "target_id: missing"),
        ("links", 4, "duplicate"),
    ]  # fmt: skip


@pytest.mark.parametrize("first", [None, START])
def test_a_link_that_is_told_again_later_stays_known_since_it_was_first(
    ingest, market, change, first
):
    link = {"item_id": "i1", "relation": "country", "target_id": "IT", "valid_from": first}
    later = [link | {"valid_from": START + timedelta(days=days)} for days in (300, 7)]
    change("links", lambda none: [*none, later[0], link, later[1]])
    out = ingest(market, "market")
    assert out.rows("links") == [link]
    told = [(row["table"], row["source_row"], row["reason"]) for row in out.rows("quarantine")]
    assert told == [("links", 1, "duplicate"), ("links", 3, "duplicate")]


def test_an_exact_duplicate_keeps_its_first_copy(ingest, market, change):
    clean = ingest(market, "market").rows("events")
    change("events", lambda rows: [*rows, rows[2], rows[2]])
    out = ingest(market, "market")
    assert out.rows("events") == clean
    assert out.reasons() == [("events", "duplicate")] * 2
    assert [row["source_row"] for row in out.rows("quarantine")] == [11, 12]


def test_conflicting_versions_of_a_key_are_all_set_aside(ingest, market, change):
    change("events", lambda rows: [*rows, rows[2], rows[2] | {"units": 9.0}])
    out = ingest(market, "market")
    assert out.reasons() == [("events", "key (event_id): rows differ")] * 3
    assert "e2" not in [row["event_id"] for row in out.rows("events")]
    assert out.metrics["events_in"] == 12


def test_a_broken_row_does_not_spoil_the_good_one_of_the_same_key(ingest, market, change):
    change("events", lambda rows: [*rows, rows[2] | {"units": -9.0}])
    out = ingest(market, "market")
    assert out.reasons() == [("events", "units: below 0")]
    assert out.metrics["events_good"] == 10


def test_an_event_of_a_quarantined_item_follows_it(ingest, market, change):
    change("items", lambda rows: [rows[0], rows[1] | {"risk_class": 9}])
    reasons = ingest(market, "market").reasons()
    assert reasons.count(("events", "item_id: not in items")) == 5
    assert ("items", "risk_class: above 4") in reasons
    assert ("exposures", "item_id: not in items") in reasons


def test_null_is_no_duplicate_of_zero(ingest, market, change):
    change("events", lambda rows: [*rows, rows[2] | {"amount_eur": None}])
    assert ingest(market, "market").reasons() == [("events", "key (event_id): rows differ")] * 2
