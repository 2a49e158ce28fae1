"""Whom it hit, and whether it is over, is told from before the first alarm."""

from datetime import date, timedelta

import pytest

from tessera.contracts.series import Point
from tessera.platform.watching.impact import first_of, impact

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


def test_a_series_without_days_before_or_of_nothing_moved_by_nobody_knows():
    (new,) = impact("click_rate", {"all": dated(0.2, 0.3)}, [START]).slices
    assert (new.before, new.moved) == (None, 0.0)
    (zero,) = impact("click_rate", {"all": dated(0.0, 0.3)}, [START + timedelta(days=1)]).slices
    assert (zero.before, zero.moved) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("days", "first"), [((3,), 3), ((0, 3, 7, 11), 0), ((0, 5, 6), 5), ((6, 0, 5), 5)]
)
def test_alarms_that_lie_near_each_other_are_of_one_thing(days, first):
    assert first_of([START + timedelta(days=n) for n in days]) == START + timedelta(days=first)
