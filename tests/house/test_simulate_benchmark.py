"""What is said of several seeds of the closed loop."""

import pytest

from benchmarks.simulate import ended_above, told


def _seed(gaps, promoted=0, wrong=0):
    days = [{"value": 0.3 + gap, "house": 0.3, "gini": 0.5} for gap in gaps]
    promotions = {"judged": 5, "promoted": promoted, "truly_better": promoted - wrong,
                  "wrong": wrong, "held_though_better": 1}  # fmt: skip
    return {"days": days, "promotions": promotions, "total": {"value": 0.3}}


def test_the_last_three_days_say_where_a_seed_ended():
    assert ended_above(_seed([-9, -9, 0.1, 0.2, 0.3])) == pytest.approx(0.2)


def test_seeds_are_put_together():
    found = told([_seed([0.1] * 3, promoted=3, wrong=1), _seed([-0.1] * 3, promoted=1)])
    assert found["ended_below"] == 1
    assert found["least_above"] == pytest.approx(-0.1)
    assert (found["promoted"], found["wrong"], found["wrong_share"]) == (4, 1, 0.25)
    assert told([_seed([0.1] * 3)])["wrong_share"] == 0.0
