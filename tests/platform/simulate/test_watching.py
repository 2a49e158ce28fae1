"""What the watch of a simulation does, and what an operator does beside it."""

import pytest

from tessera.platform.release import exploration, registry
from tessera.platform.release.history import history
from tessera.platform.simulate import watching
from tessera.platform.watching import record


@pytest.fixture
def watch(place, planted, monkeypatch):
    """Watch the day so many after the first, on which something alarms."""
    monkeypatch.setenv("TESSERA_WEBHOOK", "https://nobody.invalid/hook")
    monkeypatch.setenv("TESSERA_WEBHOOK_SECRET", "sixteen-letters-x")
    measured = {}

    def watch_day(workspace, day):
        assert workspace == place.workspace
        return measured[day]

    def watched(number, *points):
        found = planted.day(number, *points)
        measured[found.day] = found
        return watching.watch(place, found.day.isoformat())

    monkeypatch.setattr(watching, "watch_day", watch_day)
    return watched


def test_alarms_act_by_the_days_of_the_market(place, planted, watch):
    point = planted.point
    assert not watch(0, point("click_rate"))
    assert watch(1, point("click_rate")), "the second day in a row asks for a run"
    assert not watch(2, point("click_rate")), "it cools down"
    dates = {"2025-01-01": 0, "2025-01-02": 1, "2025-01-03": 2}
    assert [(one["day"], one["act"]) for one in watching.acts(place, dates)] == [(1, "retrain")]
    assert not [one for one in record.entries(place.workspace) if one["kind"] == "telling"]


def test_the_operator_lets_slates_be_drawn_again_when_nothing_asks_for_a_stop(
    place, planted, watch
):
    broken = planted.point("propensity.even_weight")
    watch(0, broken)
    assert not exploration.explores(place.workspace)
    watch(1, broken)
    assert not exploration.explores(place.workspace)
    watch(2, planted.point("gini"))
    assert exploration.explores(place.workspace)
    watch(3)
    told = [one["act"] for one in history(place.workspace)]
    assert told == ["explore-stop", "explore-resume"]
    assert [one["day"] for one in watching.acts(place, {"2025-01-01": 0, "2025-01-03": 2})] == [
        0,
        2,
    ]


def test_a_rollback_is_told_with_its_versions(place, planted, watch, make_candidate):
    for weight in (1.0, 2.0):
        make_candidate(place.workspace, "PROMOTE", weight=weight,
                       judged_against="v0" if weight == 1 else "v1")  # fmt: skip
        registry.publish(place.workspace, None, None, False)
    watch(0, planted.point("skew.score"))
    told = watching.acts(place, {"2025-01-01": 7})
    assert [(one["act"], one["from"], one["to"], one["day"]) for one in told] == [
        ("rollback", "v2", "v1", 7)
    ]


def test_alarms_are_read_by_day(place, planted):
    assert watching.alarms(place, {"2025-01-01": 1}) is None
    planted.day(0, planted.point("gini"), planted.point("click_rate", "segment=young", alarm=False))
    assert watching.alarms(place, {"2025-01-01": 1}) == {1: ["gini (all)"]}
    assert watching.alarms(place, {"2025-01-02": 2}) == {}
