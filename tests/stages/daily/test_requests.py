"""Errors and requests turned away, by numbers that can be counted by hand."""

from __future__ import annotations

import pytest

from tessera.stages.daily.frames import MINUTE_COLUMNS, table
from tessera.stages.daily.requests import asked
from tests.stages.daily.conftest import frames


def day(*minutes):
    rows = {name: [one.get(name, 0.0) for one in minutes] for name in MINUTE_COLUMNS}
    return frames(minutes=table(MINUTE_COLUMNS, rows, len(minutes)))


def test_errors_and_sheds_are_shares_of_all_that_was_asked():
    minutes = [{"asked": 40.0, "errors": 4.0, "shed": 1.0}, {"asked": 60.0, "shed": 9.0}]
    found = asked(day(*minutes, {"logged": 2.0, "log_ms": 7.0}, {"logged": 2.0, "log_ms": 1.0}))
    assert found["error_rate", "all"].value == 0.04
    assert found["shed_rate", "all"].value == 0.1
    assert found["latency.log_ms", "all"].value == 2.0
    assert {name: (one.rows, one.investors) for (name, _), one in found.items()} == {
        "error_rate": (100, 100), "shed_rate": (100, 100), "latency.log_ms": (4, 4),
    }  # fmt: skip


def test_what_fails_together_tells_no_more_than_its_minute():
    spread = [{"asked": 10.0, "errors": 1.0}] * 20
    at_once = [{"asked": 10.0, "errors": 10.0}] * 2 + [{"asked": 10.0}] * 18
    one, other = (asked(day(*rows))["error_rate", "all"] for rows in (spread, at_once))
    assert one.value == other.value == 0.1
    assert one.stderr == pytest.approx((0.1 * 0.9 / 200) ** 0.5), "never surer than by chance"
    assert other.stderr > 3 * one.stderr
    alone = asked(day({"asked": 10.0, "errors": 1.0}))["error_rate", "all"]
    assert alone.stderr == pytest.approx((0.1 * 0.9 / 10) ** 0.5)
    assert alone.low == 0.0


def test_nothing_is_told_of_a_log_without_counts():
    assert asked(frames()) == {}
    assert asked(day({"logged": 1.0, "log_ms": 2.0})).keys() == {("latency.log_ms", "all")}
    assert frames().is_empty
    assert not day({"asked": 1.0, "shed": 1.0}).is_empty
