"""A day that was served is measured whole, the same whenever it is measured."""

from __future__ import annotations

import pytest

from tessera.platform.watching.day import watch_day


def values(day):
    return {(one.series, one.slice): one for one in day.points()}


def test_a_day_has_what_was_shown_and_who_saw_it(served):
    served.write(served.records(0))
    day = watch_day(served.workspace, served.day(0))
    found = values(day)
    assert day.status == "measured"
    assert found["positions", "all"].value == 3.0
    assert found["positions", "all"].rows == 60
    assert 0 < found["gini", "all"].value < 1
    assert found["unsuitable_share", "all"].value == 0.0
    assert found["propensity.replay_weight", "all"].value == pytest.approx(1.0, abs=1e-9)
    day.check()
