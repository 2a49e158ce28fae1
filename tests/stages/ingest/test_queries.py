"""What people asked in words is a table that no source needs, and shows in nothing but itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tessera.contracts.errors import LostRows

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")

START = datetime(2024, 1, 1, tzinfo=UTC)
SECRET = "my divorce and the flat"
QUERY = {"query_id": "q1", "user_id": "u1", "event_ts": START, "text": SECRET, "request_id": None}
ORDERS = [f"u{n % 4},i{n % 3},2021-03-{n + 1:02d}" for n in range(20)]
MAPPING = {
    "events": {
        "file": "orders.csv",
        "columns": {"user_id": "who", "item_id": "what", "event_ts": "day"},
        "constants": {"action": "buy"},
    },
    "items": {"file": "orders.csv", "columns": {"item_id": "what"}, "distinct": True},
    "queries": {
        "file": "asked.csv",
        "columns": {"user_id": "who", "event_ts": "day", "text": "said"},
    },
}


@pytest.fixture
def bank(tmp_path):
    """Orders, and what was asked as lines of text."""

    def write(*asked):
        folder = tmp_path / "bank"
        folder.mkdir(exist_ok=True)
        (folder / "orders.csv").write_text("\n".join(["who,what,day", *ORDERS]) + "\n")
        (folder / "asked.csv").write_text("\n".join(["who,day,said", *asked]) + "\n")
        return folder

    return write


def test_queries_are_read_where_there_are_some_and_bad_ones_set_aside(ingest, market, change):
    assert ingest(market, "market").rows("queries") == [], "no file is no query, and no error"
    broken = [QUERY | {"query_id": "q2", "text": ""}, QUERY | {"query_id": "q3", "user_id": None}]
    change("queries", lambda none: [*none, QUERY, *broken, QUERY])
    out = ingest(market, "market")
    assert out.rows("queries") == [QUERY]
    assert [(row["table"], row["source_row"], row["reason"]) for row in out.rows("quarantine")] == [
        ("queries", 2, "text: missing"), ("queries", 3, "user_id: missing"),
        ("queries", 4, "duplicate"),
    ]  # fmt: skip
    assert out.metrics["queries_in"] == 4


def test_what_was_asked_is_not_set_aside_with_a_bad_row(ingest, market, change):
    twice = [QUERY | {"query_id": "q2", "user_id": user} for user in ("u1", "u2")]
    good = QUERY | {"query_id": "q9", "text": "a pension"}
    change("queries", lambda none: [*none, good, QUERY | {"user_id": None}, *twice])
    out = ingest(market, "market")
    tables = {path.stem: str(out.rows(path.stem)) for path in out.folder.glob("*.parquet")}
    assert not [name for name, rows in tables.items() if SECRET in rows]
    assert len(out.rows("quarantine")) == 3
    assert all("query_id" in row["row"] for row in out.rows("quarantine")), "the rest is told"


def test_a_mapping_names_queries_and_rows_are_their_ids(ingest, bank):
    out = ingest(bank(f"u1,2021-03-02,{SECRET}", "u2,2021-03-03,a pension"), "table",
                 mapping=MAPPING)  # fmt: skip
    assert [(row["query_id"], row["text"]) for row in out.rows("queries")] == [
        ("000000000001", SECRET), ("000000000002", "a pension"),
    ]  # fmt: skip


def test_neither_a_line_that_is_no_row_nor_a_refusal_tells_what_was_asked(ingest, bank):
    torn = bank(f"u1,2021-03-02,{SECRET},{SECRET}", "u2,2021-03-03,a pension")
    out = ingest(torn, "table", mapping=MAPPING)
    assert [row["row"] for row in out.rows("quarantine")] == [None]
    assert out.metrics["queries_quarantined"] == 1
    many = bank(*(f"u1,2021-03-02,{SECRET},{n}" for n in range(9)))
    with pytest.raises(LostRows) as caught:
        ingest(many, "table", mapping=MAPPING)
    assert "asked.csv row 1" in str(caught.value)
    assert "divorce" not in str(caught.value)


def test_a_text_without_an_entry_is_set_aside_unquoted(ingest, bank):
    said = {"from": "said", "values": {"a pension": "pension"}}
    mapping = MAPPING | {
        "queries": {
            **MAPPING["queries"],
            "columns": {**MAPPING["queries"]["columns"], "text": said},
        }
    }
    out = ingest(bank(f"u1,2021-03-02,{SECRET}", "u2,2021-03-03,a pension"), "table",
                 mapping=mapping)  # fmt: skip
    (row,) = out.rows("quarantine")
    assert row["reason"] == "text: no entry of `values`"
    assert "divorce" not in str(row)
    assert [row["text"] for row in out.rows("queries")] == ["pension"]


def test_queries_of_investors_whom_nobody_knows_are_told(ingest, market, change):
    later = START + timedelta(days=1)
    change("queries", lambda none: [*none, QUERY, QUERY | {"query_id": "q2", "user_id": "x",
                                                           "event_ts": later}])  # fmt: skip
    assert ingest(market, "market").metrics["coverage_queries_users"] == 0.5
