"""A run that lost most of a table, or whose tables do not know each other, stops and says why."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from tessera.contracts.errors import LostRows
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.stage import ORDER, run

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

STRICT = {"max_quarantined": 0.05, "min_coverage": 0.5}
TABLES = {
    "events": {
        "file": "orders.csv",
        "columns": {"user_id": "client", "item_id": "isin", "event_ts": "day", "action": "what"},
    },
    "items": {"file": "products.csv", "columns": {"item_id": "isin", "name": "isin"}},
}
USERS = {"users": {"file": "clients.csv", "columns": {"user_id": "client", "risk_class": "risk"}}}


@pytest.fixture
def bank(tmp_path):
    """Sixty orders of eight clients on six products; returns how to rewrite a file."""
    folder = tmp_path / "bank"
    folder.mkdir()

    def write(name, head, rows):
        (folder / name).write_text("\n".join([head, *rows]) + "\n")
        return folder

    days = [f"2021-{n // 28 + 1:02d}-{n % 28 + 1:02d}" for n in range(60)]
    orders = [f"u{n % 8},i{n % 6},{day},buy" for n, day in enumerate(days)]
    write.orders = orders
    write("orders.csv", "client,isin,day,what", orders)
    write("products.csv", "isin", [f"i{n}" for n in range(6)])
    write("clients.csv", "client,risk", [f"u{n},2" for n in range(8)])
    write.folder = folder
    return write


def stopped(ingest, bank, mapping=TABLES, **params):
    with pytest.raises(LostRows) as caught:
        ingest(bank.folder, "table", mapping=mapping, **(STRICT | params))
    line = str(caught.value)
    assert "\n" not in line
    return line, caught.value.metrics


def changed(orders, rows, **cells):
    head = ["client", "isin", "day", "what"]
    told = []
    for number, order in enumerate(orders):
        row = dict(zip(head, order.split(","), strict=True))
        told.append(",".join((row | (cells if number < rows else {})).values()))
    return told


@pytest.mark.parametrize(
    ("cells", "reason", "value", "remedy"),
    [
        ({"what": "BUY"}, "action: not one of", "what holds 'BUY'", "map the values in"),
        ({"isin": "I0"}, "item_id: not in items", "isin holds 'I0'", "write the item alike"),
        ({"day": "soon"}, "event_ts: not an ISO date", "day holds 'soon'", "written"),
        ({"day": "2099-01-01"}, "event_ts: after 2021-", "day holds '2099-01-01", "ingest.latest"),
        ({"client": ""}, "user_id: missing", "client)", "fill it"),
    ],
)
def test_a_table_that_lost_more_than_it_may_stops_with_its_cause(
    ingest, bank, cells, reason, value, remedy
):
    bank("orders.csv", "client,isin,day,what", changed(bank.orders, 4, **cells))
    line, metrics = stopped(ingest, bank, latest="2021-06-01")
    assert line.startswith("events: 4 of 60 rows (6.7%) went to quarantine, at most 5.0% may: ")
    assert f"`{reason}" in line
    assert "orders.csv row 1" in line
    assert value in line
    assert remedy in line
    assert "ingest.max_quarantined_by: {'events: " in line
    assert metrics["events_in"] == metrics["events_good"] + metrics["events_quarantined"] == 60


def test_what_may_be_lost_is_lost_without_a_stop(ingest, bank):
    bank("orders.csv", "client,isin,day,what", changed(bank.orders, 3, what="BUY"))
    out = ingest(bank.folder, "table", mapping=TABLES, **STRICT)
    assert out.metrics["events_quarantined"] == 3
    bank("orders.csv", "client,isin,day,what", changed(bank.orders, 30, what="BUY"))
    allowed = {"max_quarantined_by": {"events: action": 0.5}}
    assert ingest(bank.folder, "table", mapping=TABLES, **STRICT, **allowed).metrics[
        "events_good"
    ] == 30  # fmt: skip
    stopped(ingest, bank, max_quarantined_by={"events: action": 0.49})
    stopped(ingest, bank, max_quarantined_by={"events: item_id": 1.0})
    assert "events: 30 of 60" in stopped(ingest, bank, max_quarantined_by={"items": 1.0})[0]


def test_several_small_reasons_add_up(ingest, bank):
    orders = changed(bank.orders, 2, what="BUY")
    orders[2:4] = [order.replace(",i", ",x") for order in orders[2:4]]
    bank("orders.csv", "client,isin,day,what", orders)
    assert "events: 4 of 60 rows" in stopped(ingest, bank)[0]
    out = ingest(bank.folder, "table", mapping=TABLES, **STRICT,
                 max_quarantined_by={"events: action": 0.05})  # fmt: skip
    assert out.metrics["events_quarantined"] == 4, "each ceiling has its own reasons"


def test_one_row_is_no_share_of_a_small_file_unless_nothing_may_be_lost(ingest, bank):
    bank("products.csv", "isin", [*(f"i{n}" for n in range(6)), "i1"])
    out = ingest(bank.folder, "table", mapping=TABLES, **STRICT)
    assert out.reasons() == [("items", "duplicate")]
    stopped(ingest, bank, max_quarantined=0.0)


def test_a_table_without_a_good_row_is_an_error_if_it_had_any(ingest, bank):
    bank("clients.csv", "client,risk", [f"u{n},9" for n in range(8)])
    line, _ = stopped(ingest, bank, TABLES | USERS, max_quarantined=1.0)
    assert line.startswith("users: no good row among 8: most often `risk_class: above 4`")
    assert "risk holds '9'" in line


@pytest.mark.parametrize(("name", "head"), [("orders.csv", "client,isin,day,what"),
                                            ("products.csv", "isin"),
                                            ("clients.csv", "client,risk")])  # fmt: skip
def test_a_mapped_file_without_a_row_is_an_error(ingest, bank, name, head):
    bank(name, head, [])
    line, _ = stopped(ingest, bank, TABLES | USERS)
    assert "no good row among 0: its file holds none" in line


def test_investors_without_a_date_were_always_so(ingest, bank):
    out = ingest(bank.folder, "table", mapping=TABLES | USERS, **STRICT)
    assert {row["valid_from"] for row in out.rows("users")} == {datetime(1970, 1, 1, tzinfo=UTC)}
    assert out.metrics["users_good"] == 8


def test_users_who_never_act_under_that_name_are_told(ingest, bank, caplog):
    bank("clients.csv", "client,risk", [f"U{n},2" for n in range(8)])
    line, metrics = stopped(ingest, bank, TABLES | USERS)
    assert line.startswith(
        "of 8 investors in events 0 (0.0%) are in users: events say 'u0'; users say 'U0'"
    )
    assert metrics["coverage_events_users"] == 0
    bank("clients.csv", "client,risk", [f"u{n},2" for n in range(6)])
    with caplog.at_level(logging.WARNING):
        out = ingest(bank.folder, "table", mapping=TABLES | USERS, **STRICT)
    assert out.metrics["coverage_events_users"] == 0.75
    assert "of 8 investors in events 6 (75.0%) are in users" in caplog.text


def test_every_join_of_the_market_is_measured(ingest, market, change, caplog):
    metrics = ingest(market, "market").metrics
    assert {key: value for key, value in metrics.items() if key.startswith("coverage")} == {
        "coverage_events_items": 1.0,
        "coverage_events_users": pytest.approx(1 / 3),
        "coverage_exposures_items": 1.0,
        "coverage_exposures_users": 1.0,
        "coverage_outcomes_exposures": 1.0,
        "coverage_candidates_items": 1.0,
    }
    assert "of 3 investors in events 1" in caplog.text


def test_outcomes_of_other_requests_and_unknown_candidates_stop(ingest, market, change):
    change("outcomes", lambda rows: [rows[0] | {"request_id": "r9"}])
    with pytest.raises(LostRows, match="of 1 requests in outcomes 0"):
        ingest(market, "market", min_coverage=0.3)
    change("outcomes", lambda rows: [rows[0] | {"request_id": "r1"}])
    change("exposures", lambda rows: [row | {"candidate_ids": [row["item_id"], "x", "y", "z"],
                                             "candidate_propensities": [0.5, 0.5, 0.0, 0.0]}
                                      for row in rows])  # fmt: skip
    with pytest.raises(LostRows, match="of 4 items in candidates 1 .*candidates say 'x'"):
        ingest(market, "market", min_coverage=0.3)


def test_positions_that_count_from_zero_stop_and_are_told_what_to_do(ingest, market, change):
    change("exposures", lambda rows: [row | {"position": 0} for row in rows])
    with pytest.raises(LostRows, match="exposures.*the top position is 1: add 1 where it counts"):
        ingest(market, "market")


def test_the_quarantine_of_a_run_that_stopped_is_written(bank, tmp_path):
    bank("orders.csv", "client,isin,day,what", changed(bank.orders, 60, what="BUY"))
    out = tmp_path / "stopped"
    out.mkdir()
    names = (*ORDER, "quarantine")
    files = {name: out / f"{name}.parquet" for name in names}
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"cut": None}))
    with pytest.raises(LostRows, match="events: no good row among 60"):
        run(source=bank.folder, request=request, split=out / "split.json",
            suitability=out / "suitability.json",
            params=IngestParams(source="table", mapping=TABLES), **files)  # fmt: skip
    import pyarrow.parquet as pq

    assert len(pq.read_table(files["quarantine"])) == 60


@pytest.mark.parametrize(
    ("params", "day", "good"),
    [
        ({}, "2021-03-05", 60),
        ({}, "2021-03-04", 60),
        ({}, "2021-02-28", 57),
        ({"latest": "2021-02-20"}, "2021-03-05", 47),
        ({"earliest": "2021-01-11"}, "2021-03-05", 50),
    ],
)
def test_nothing_has_happened_before_it_began_or_after_the_day_of_the_run(
    bank, tmp_path, params, day, good
):
    """The last order is of 2021-03-04."""
    out = tmp_path / "dated"
    out.mkdir()
    names = (*ORDER, "quarantine")
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"cut": None, "today": day}))
    allowed = IngestParams(source="table", mapping=TABLES, max_quarantined=1.0, **params)
    files = {name: out / f"{name}.parquet" for name in names}
    metrics = run(
        source=bank.folder,
        request=request,
        split=out / "s.json",
        suitability=out / "suitability.json",
        params=allowed,
        **files,
    )
    assert metrics["events_good"] == good


def test_a_share_of_no_table_is_refused():
    with pytest.raises(ValidationError, match="begins with no table"):
        IngestParams(max_quarantined_by={"orders": 0.1})
    with pytest.raises(ValidationError):
        IngestParams(max_quarantined_by={"events": 1.1})
