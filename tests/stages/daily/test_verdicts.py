"""A verdict falls by the size of an effect, and by how sure one is of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tessera.stages.daily.spec import Rule
from tessera.stages.daily.units import Level
from tessera.stages.daily.verdicts import found, held_against, points

KEY = ("click_rate", "all")


def levels(*values, stderr=None, investors=50):
    return [Level(value, stderr, 100, investors) for value in values]


def days(*values, **more):
    return [{KEY: level} for level in levels(*values, **more)]


QUIET = (0.10, 0.11, 0.09, 0.10, 0.105, 0.095, 0.10, 0.10)


def test_an_exact_limit_may_not_be_passed_at_all():
    rule = Rule(kind="exact", limit=0.0, side="above")
    assert held_against(Level(1e-9, 1.0), [], rule, 5).p_value == 0.0
    assert held_against(Level(0.0, 1.0), [], rule, 5).p_value == 1.0


def test_a_bound_has_to_be_passed_surely():
    rule = Rule(kind="bound", limit=0.1, side="above")
    assert held_against(Level(0.2, 0.2), [], rule, 5).p_value == pytest.approx(0.3085, abs=1e-4)
    assert held_against(Level(0.2, 0.01), [], rule, 5).p_value < 1e-12
    below = Rule(kind="bound", limit=0.1, side="below")
    assert held_against(Level(0.2, 0.01), [], below, 5).p_value > 0.999


def test_a_small_change_is_no_alarm_however_much_was_shown():
    rule = Rule(kind="relative", limit=0.25)
    test = held_against(Level(0.11, 1e-6), levels(*QUIET, stderr=1e-6), rule, 5)
    assert test.threshold == pytest.approx(0.125)
    assert test.p_value > 0.9


def test_how_days_differ_decides_how_sure_a_change_is():
    rule = Rule(kind="relative", limit=0.25)
    quiet = held_against(Level(0.16), levels(*QUIET), rule, 5).p_value
    loud = held_against(Level(0.16), levels(0.02, 0.18, 0.06, 0.14, 0.1, 0.1), rule, 5).p_value
    assert quiet < 0.01 < 0.3 < loud


@pytest.mark.parametrize("stderr", [None, 0.006])
def test_a_fault_among_the_reference_days_does_not_hide_itself(stderr):
    rule = Rule(kind="relative", limit=0.25, side="below")

    def judged(*odd):
        past = levels(*QUIET, *QUIET[:6], *odd, stderr=stderr)[len(odd) :]
        return held_against(Level(0.03, stderr), past, rule, 5)

    clean = judged()
    for odd in ((0.03,), (0.03, 0.02), (0.03, 0.02, 0.03, 0.025, 0.03)):
        found = judged(*odd)
        assert found.threshold == pytest.approx(clean.threshold, rel=0.01)
        assert found.p_value < 1e-3, odd
    most = judged(*[0.03] * 10)
    assert most.threshold < 0.03, "what most days are is the usual"


def test_the_fewest_days_that_are_needed_are_never_left_out():
    rule = Rule(kind="relative", limit=0.25, side="below")
    past = levels(0.1, 0.1, 0.1, 0.1, 0.5)
    assert held_against(Level(0.1), past, rule, 5).threshold == pytest.approx(0.75 * 0.18)


def test_days_that_differ_by_who_came_alone_are_known_from_all_who_came():
    rule = Rule(kind="relative", limit=0.0)
    alone = held_against(Level(0.13), levels(*QUIET), rule, 5).p_value
    known = held_against(Level(0.13, 0.006), levels(*QUIET, stderr=0.006), rule, 5).p_value
    assert known < alone / 5


def test_a_side_is_asked_for_or_both():
    both = Rule(kind="absolute", limit=0.01)
    above = Rule(kind="absolute", limit=0.01, side="above")
    low = Level(0.05)
    assert held_against(low, levels(*QUIET), both, 5).side == "below"
    assert held_against(low, levels(*QUIET), both, 5).threshold == pytest.approx(0.09)
    assert held_against(low, levels(*QUIET), above, 5).p_value > 0.99


def test_with_too_few_days_nothing_is_compared():
    assert held_against(Level(9.0), levels(0.1, 0.1), Rule(kind="absolute", limit=0.0), 5) is None


def test_what_is_of_too_few_is_hidden_and_no_reference(spec):
    (one,) = points({KEY: Level(0.9, 0.001, 10, 9)}, days(*QUIET), spec)
    assert (one.hidden, one.value, one.alarm, one.rows) == (True, None, False, 10)
    few = days(*QUIET, investors=9)
    (other,) = points({KEY: Level(0.9, 0.001, 10, 50)}, few, spec)
    assert other.p_value is None


def test_what_is_left_of_everybody_beside_a_slice_is_of_enough_investors_too(spec):
    """One of twenty-five is new: everybody less the known would tell of that one."""
    sizes = {"all": 25, "known=known": 24, "known=new": 1,
             "segment=a": 11, "segment=b": 12,  # and two of whom nobody says it
             "policy=v1": 12, "policy=v2": 13}  # fmt: skip
    now = {("positions", name): Level(3.0, 0.1, 10, size) for name, size in sizes.items()}
    found = {one.slice for one in points(now, [], spec) if one.hidden}
    assert found == {"known=known", "known=new", "segment=a"}


def test_what_is_no_number_is_beyond_an_exact_limit(spec):
    (one,) = points({("skew.score", "all"): Level(float("nan"), None, 10, 50)}, [], spec)
    assert one.alarm


def test_a_change_alarms_with_its_threshold(spec):
    (one,) = points({KEY: Level(0.3, 0.001, 100, 50)}, days(*QUIET, stderr=0.005), spec)
    assert (one.alarm, one.side) == (True, "above")
    assert one.threshold == pytest.approx(0.1 * (1 + spec.series["click_rate"].limit))


@pytest.mark.parametrize(
    ("series", "usual", "bad"),
    [("complaint_rate", 0.007, 0.014), ("error_rate", 0.008, 0.02), ("shed_rate", 0.04, 0.06)],
)
def test_complaints_errors_and_sheds_alarm_where_there_are_surely_too_many(
    spec, series, usual, bad
):
    key = (series, "all")
    before = [{key: level} for level in levels(*[usual] * 14, stderr=0.001)]
    for value, alarms in ((usual * 1.2, False), (bad, True)):
        (point,) = points({key: Level(value, 0.001, 100, 50)}, before, spec)
        assert point.alarm is alarms
    (unsure,) = points({key: Level(bad, 0.02, 100, 50)}, before, spec)
    assert not unsure.alarm


def test_a_series_without_a_rule_is_measured_and_never_judged(spec):
    (one,) = points({("novelty", "all"): Level(9.0, 0.1, 10, 50)}, [], spec)
    assert (one.value, one.threshold, one.p_value, one.alarm) == (9.0, None, None, False)


def test_slices_are_judged_where_the_rule_says_so(spec):
    key = ("coverage", "segment=retail")
    before = [{key: Level(0.5, 0.0, 1, 50)}] * 8
    (one,) = points({key: Level(0.01, 0.0, 1, 50)}, before, spec)
    assert one.p_value is None
    rules = {**spec.series, "coverage": Rule(kind="relative", limit=0.1, slices="every")}
    (one,) = points({key: Level(0.01, 0.0, 1, 50)}, before, replace_series(spec, rules))
    assert one.alarm


def replace_series(spec, rules):
    return spec.model_copy(update={"series": rules})


def test_many_series_share_the_chance_of_a_false_alarm(spec):
    """One of a hundred has a chance of 1 in 1,000: by chance, where one looks at a hundred."""
    rules = {"x.*": Rule(kind="bound", limit=0.0, side="above")}
    spec = replace_series(spec, rules)
    far = {("x.1", "all"): Level(3.09, 1.0, 1, 50)}
    (alone,) = points(far, [], spec)
    assert alone.alarm
    others = {(f"x.{n}", "all"): Level(-1.0, 1.0, 1, 50) for n in range(2, 101)}
    assert not any(one.alarm for one in points(far | others, [], spec))


def test_an_exact_limit_takes_nobodys_share_and_gives_none(spec):
    """Fifty sure discoveries beside them would let ten tests pass at ten times the chance."""
    rules = {"x.*": Rule(kind="bound", limit=0.0, side="above"),
             "unsuitable_share": Rule(kind="exact", limit=0.0, side="above",
                                      slices="every")}  # fmt: skip
    spec = replace_series(spec, rules)
    near = {("x.0", "all"): Level(2.652, 1.0, 1, 50)}  # by chance 4 in 1,000
    near |= {(f"x.{n}", "all"): Level(-1.0, 1.0, 1, 50) for n in range(1, 10)}
    broken = {("unsuitable_share", f"s={n}"): Level(1.0, 0.0, 1, 50) for n in range(50)}
    alarms = {one.series for one in points(near | broken, [], spec) if one.alarm}
    assert alarms == {"unsuitable_share"}


def test_discoveries_step_up():
    assert found(np.array([0.02, 0.04, 0.06]), 0.06) == [True, True, True]
    assert found(np.array([]), 0.05) == []


def test_a_level_knows_its_interval():
    level = Level(0.1, 0.1)
    assert level.low == pytest.approx(-0.096, abs=1e-3)
    assert replace(level, is_size=True).low == 0.0
    assert Level(0.1).low is None
