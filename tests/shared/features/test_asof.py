"""Nothing is known before it was known."""

from __future__ import annotations

from datetime import UTC, datetime

import ibis
import pytest

from tessera.shared.features.asof import as_of

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")


def day(number: int) -> datetime:
    return datetime(2024, 1, number, tzinfo=UTC)


USERS = ibis.memtable(
    {
        "user_id": ["a", "a", "b", "c"],
        "valid_from": [day(3), day(10), day(20), day(1)],
        "risk_class": [2, 4, 3, None],
    },
    schema={"user_id": "string", "valid_from": "timestamp('UTC')", "risk_class": "int64"},
)
EVENTS = ibis.memtable(
    {
        "event_id": ["1", "2", "3", "4", "5", "6", "7", "8"],
        "user_id": ["a", "a", "a", "a", "a", "b", "c", "d"],
        "event_ts": [day(2), day(3), day(9), day(10), day(28), day(19), day(5), day(5)],
    },
    schema={"event_id": "string", "user_id": "string", "event_ts": "timestamp('UTC')"},
)


def known_risk(users):
    return as_of(EVENTS, users, by="user_id", at="event_ts", since="valid_from")


def test_each_event_gets_the_last_version_at_or_before_it_and_no_later_one():
    rows = known_risk(USERS).order_by("event_id").to_pyarrow()
    assert rows.column_names == ["event_id", "user_id", "event_ts", "risk_class"]
    assert rows["risk_class"].to_pylist() == [None, 2, 2, 4, 4, None, None, None]


def test_a_later_version_changes_no_earlier_event():
    later = ibis.memtable(
        {"user_id": ["a", "b"], "valid_from": [day(29), day(29)], "risk_class": [1, 1]},
        schema=USERS.schema(),
    )
    before = known_risk(USERS).order_by("event_id").to_pyarrow()
    after = known_risk(USERS.union(later)).order_by("event_id").to_pyarrow()
    assert after.equals(before)


def test_a_shared_column_keeps_both_values():
    joined = as_of(
        EVENTS.mutate(risk_class=ibis.literal(9)),
        USERS,
        by="user_id",
        at="event_ts",
        since="valid_from",
    )
    assert {"risk_class", "risk_class_known"} <= set(joined.columns)
