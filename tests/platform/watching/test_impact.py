"""Whom it hit, and whether it is over, is told from before the first alarm."""

from datetime import date, timedelta

import pytest

from tessera.contracts.series import Point
from tessera.platform.watching.impact import impact, runs_of

START = date(2025, 1, 1)


def dated(*values, slice_="all", investors=50):
    return {
        START + timedelta(days=n): Point(
            "click_rate", slice_, value, investors=investors, hidden=value is None
        )
        for n, value in enumerate(values)
    }


def test_everybody_stands_first_then_the_slice_that_moved_most():
    slices = {
        "segment=mass": dated(*[0.4] * 5, *[0.3] * 5, slice_="segment=mass"),
        "all": dated(*[0.4] * 5, *[0.2] * 7, *[0.3] * 3),
        "segment=private": dated(*[0.4] * 5, *[0.1] * 5, slice_="segment=private", investors=12),
        "segment=few": dated(*[None] * 9, slice_="segment=few"),
    }
    found = impact("click_rate", slices, [START + timedelta(days=n) for n in (5, 6, 9)])
    assert [one.name for one in found.slices] == ["all", "segment=private", "segment=mass"]
    assert found.first == START + timedelta(days=5)
    whole = found.whole
    assert (whole.before, whole.then, whole.now) == pytest.approx((0.4, 0.2, 0.3))
    assert whole.moved == pytest.approx(-0.5)
    assert found.slices[1].investors == 12


def test_what_has_come_back_is_over_and_the_slice_that_has_least_is_named():
    slices = {
        "all": dated(0.4, 0.2, 0.4, 0.4, 0.4),
        "segment=a": dated(0.4, 0.2, 0.39, 0.39, 0.39, slice_="segment=a"),
    }
    found = impact("click_rate", slices, [START + timedelta(days=1)])
    assert not found.is_open
    assert found.furthest is None
    slices["segment=b"] = dated(0.4, 0.2, 0.25, 0.25, 0.25, slice_="segment=b")
    found = impact("click_rate", slices, [START + timedelta(days=1)])
    assert found.is_open
    assert found.furthest.name == "segment=b"


def test_a_series_without_days_before_or_of_nothing_moved_by_nobody_knows():
    (new,) = impact("click_rate", {"all": dated(0.2, 0.3)}, [START]).slices
    assert (new.before, new.moved) == (None, 0.0)
    (zero,) = impact("click_rate", {"all": dated(0.0, 0.3)}, [START + timedelta(days=1)]).slices
    assert (zero.before, zero.moved) == (0.0, 0.0)


def test_while_it_alarmed_is_from_its_first_to_its_last_alarm_and_the_way_back_is_told():
    found = impact(
        "click_rate",
        {"all": dated(*[0.4] * 5, 0.2, 0.1, 0.3, *[0.35] * 6)},
        [START + timedelta(days=n) for n in (5, 7)],
    )
    assert (found.first, found.last) == (START + timedelta(days=5), START + timedelta(days=7))
    assert found.whole.then == pytest.approx(0.25), "the day between did not alarm"
    assert found.whole.back == pytest.approx(2 / 3)
    assert found.is_open
    assert found.furthest is None, "no slice has less of the way behind it"
    (worse,) = impact(
        "click_rate", {"all": dated(0.4, 0.2, 0.1, 0.1, 0.1)}, [START + timedelta(days=1)]
    ).slices
    assert worse.back == pytest.approx(-0.5)
    (stood,) = impact("click_rate", {"all": dated(0.4, 0.4)}, [START + timedelta(days=1)]).slices
    assert stood.back is None


@pytest.mark.parametrize(
    ("days", "runs"),
    [
        ((3,), [(3, 3)]),
        ((0, 3, 7, 11), [(0, 11)]),
        ((0, 5, 6), [(0, 0), (5, 6)]),
        ((6, 0, 5), [(0, 0), (5, 6)]),
        ((4, 4), [(4, 4)]),
    ],
)
def test_alarms_that_lie_near_each_other_are_of_one_thing(days, runs):
    found = runs_of(START + timedelta(days=n) for n in days)
    assert [((one - START).days, (other - START).days) for one, other in found] == runs
