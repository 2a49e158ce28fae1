"""What is said of a simulation is what its figures say."""

import numpy as np
import pytest
from rich.console import Console

from tessera.platform.simulate.outcome import (
    Watched,
    days_to_recovery,
    fixed_policies,
    judge,
    outcome,
)
from tessera.platform.simulate.page import render
from tessera.platform.simulate.plan import Plan
from tessera.platform.simulate.reckoning import asked_of, expected
from tessera.platform.simulate.told import show
from tessera.platform.simulate.words import acts, change, promotions, total

PLAN = Plan(days=4, scenario="drift", users=50, visits=10, every=2)


def _run(day, champion, published, **more):
    told = {"decision": "PROMOTE" if published else "HOLD", "reason": "planted", "override": None}
    lift = {"told_lift": 0.1, "lower": 0.05, "upper": 0.15, "requests": 9, "act": "publish"}
    return {"day": day, "champion": champion, "published": published, **told, **lift, **more}


RUNS = [
    _run(-1, "v0", "v1", override="the first"),
    _run(1, "v1", "v2"),
]


def _day(day, value, versions, house=0.2, oracle=0.6):
    return {"day": day, "date": f"2024-01-0{day + 1}", "requests": 10, "versions": versions,
            "value": value, "house": house, "oracle": oracle, "gini": 0.5, "clicks": 1,
            "degraded": 0, "shown": [1, 2]}  # fmt: skip


DAYS = [
    _day(0, 0.30, {"v1": 10}),
    _day(1, 0.30, {"v1": 10}),
    _day(2, 0.40, {"v2": 10}),
    _day(3, 0.40, {"v2": 10}),
]


def _act(day, act, before="v1", to="v1"):
    return {"day": day, "act": act, "from": before, "to": to, "reason": "alarm 1: planted"}


def _spread(mean, width=0.01):
    return np.array([mean - width, mean, mean + width, mean])


WORTH = {
    "v1": {day: _spread(0.3) for day in range(4)},
    "v2": {day: _spread(0.4) + np.array([0, 0.01, 0, -0.01]) for day in (2, 3)},
}


def test_what_a_fixed_policy_had_earned_goes_on_where_nothing_followed_it():
    fixed = fixed_policies(DAYS, RUNS, WORTH)
    assert fixed["v1"] == pytest.approx([0.3, 0.3, 0.3, 0.3])
    assert fixed["v2"] == pytest.approx([0.3, 0.3, 0.4, 0.4])


def test_a_day_of_two_versions_is_compared_with_both():
    days = [*DAYS[:2], _day(2, 0.35, {"v1": 5, "v2": 5})]
    assert fixed_policies(days, RUNS, WORTH)["v1"][2] == pytest.approx(0.30)
    assert fixed_policies(days, RUNS, WORTH)["v2"][2] == pytest.approx(0.40)


@pytest.mark.parametrize(
    ("lift", "truth"), [(0.1, "better"), (-0.1, "worse"), (0.001, "about equal")]
)
def test_a_promotion_is_judged_by_what_it_truly_changed(lift, truth):
    worth = {"v1": WORTH["v1"], "v2": {2: WORTH["v1"][2] + _spread(lift), 3: _spread(9.0)}}
    found = judge(RUNS[1], {**worth, "v2": {2: worth["v2"][2]}}, PLAN)
    assert found["truth"] == truth
    assert found["true_lift"] == pytest.approx(lift)


def test_only_the_days_until_the_next_run_judge_a_promotion():
    worth = {"v1": {day: _spread(0.3) for day in range(9)},
             "v2": {day: _spread(0.4 if day < 4 else -9.0) for day in range(2, 9)}}  # fmt: skip
    assert judge(RUNS[1], worth, PLAN)["true_lift"] == pytest.approx(0.1)


def test_a_candidate_that_was_held_is_judged_too():
    held = _run(1, "v1", None)
    worth = {"v1": WORTH["v1"], "candidate of day 2": {2: _spread(0.2), 3: _spread(0.2)}}
    assert judge(held, worth, PLAN)["truth"] == "worse"
    found = outcome(PLAN, DAYS[:2], [RUNS[0], held], worth, Watched())
    assert found["promotions"]["held"] == 1
    assert found["promotions"]["held_though_better"] == 0


def test_the_first_model_is_no_word_of_the_gate():
    found = outcome(PLAN, DAYS, RUNS, WORTH, Watched())["promotions"]
    assert (found["judged"], found["promoted"], found["truly_better"], found["wrong"]) == (
        1,
        1,
        1,
        0,
    )


def test_what_a_person_put_through_is_no_promotion_of_the_gate():
    runs = [RUNS[0], _run(1, "v1", "v2", override="because")]
    assert outcome(PLAN, DAYS, runs, WORTH, Watched())["promotions"]["promoted"] == 0


def test_regret_adds_up_over_requests():
    found = outcome(PLAN, DAYS, RUNS, WORTH, Watched())
    assert found["best_fixed"] == "v2"
    assert found["total"]["value"] == pytest.approx(0.35)
    assert found["total"]["regret"] == pytest.approx(10 * (0.3 + 0.3 + 0.2 + 0.2))
    assert found["total"]["regret_beside_best_fixed"] == pytest.approx(0.0)
    assert found["days"][2]["attained"] == pytest.approx(0.5)


def test_alarm_and_recovery_are_counted_from_the_day_of_the_change():
    alarms = {0: ["click_rate (all)"], 2: ["gini (all)"], 3: ["click_auc (all)"]}
    watched = Watched(alarms, [_act(0, "retrain"), _act(3, "retrain")])
    found = outcome(PLAN, DAYS, RUNS, WORTH, watched)["change"]
    assert (found["day"], found["days_to_alarm"], found["days_to_act"]) == (2, 1, 1)
    assert (found["alarmed_before"], found["acted_before"]) == (1, 1)
    early = Watched({0: ["click_rate (all)"], 2: ["gini (all)"]}, [_act(0, "retrain")])
    found = outcome(PLAN, DAYS, RUNS, WORTH, early)["change"]
    assert (found["days_to_alarm"], found["days_to_act"]) == (None, None), "lists are no sign"


def test_a_rollback_is_judged_as_a_promotion_is():
    back = _act(1, "rollback", before="v2", to="v1")
    days = [*DAYS[:2], _day(2, 0.30, {"v1": 10}), _day(3, 0.30, {"v1": 10})]
    found = outcome(PLAN, days, RUNS, WORTH, Watched({}, [back, _act(1, "retrain")]))
    assert found["acts"][0]["truth"] == "worse"
    assert found["acts"][0]["true_lift"] == pytest.approx(-0.1)
    assert found["acts"][1]["truth"] == "not known"
    said = acts(found)
    assert "rollback (1), run asked for (1)" in said
    assert "1 of the rollbacks made it truly worse" in said


def test_a_rollback_is_judged_until_another_version_served():
    """What it cost goes on for as long as nothing takes the place of the version before."""
    worth = {"v1": {day: _spread(0.3) for day in range(4)},
             "v2": {1: _spread(0.3), 2: _spread(0.5), 3: _spread(-9.0)},
             "v3": {3: _spread(0.4)}}  # fmt: skip
    days = [*DAYS[:2], _day(2, 0.30, {"v1": 10}), _day(3, 0.40, {"v3": 10})]
    back = _act(0, "rollback", before="v2", to="v1")
    (found,) = outcome(PLAN, days, RUNS[:1], worth, Watched({}, [back]))["acts"]
    assert found["true_lift"] == pytest.approx(-0.1), "days 1 and 2, and not the third"


def test_what_was_judged_before_the_change_and_lived_behind_it_is_marked():
    found = outcome(PLAN, DAYS, RUNS, WORTH, Watched())
    assert render(found).count("(the change lies between)") == 1
    calm = {**found, "change": None}
    assert "(the change lies between)" not in render(calm)


def test_recovery_needs_three_days_as_before():
    assert days_to_recovery([0.5, 0.5, 0.1, 0.5, 0.1, 0.1, 0.5], 2) is None
    assert days_to_recovery([0.5, 0.5, 0.5, 0.5, 0.5], 2) == 0


def test_calm_days_have_no_change():
    calm = Plan(days=4, users=50, visits=10, every=2)
    found = outcome(calm, DAYS, RUNS, WORTH, Watched())
    assert found["change"] is None
    assert change(found) == ""


def test_a_slate_is_worth_its_responses_by_position():
    probability_LC = np.array([[1.0, 0.0], [0.0, 1.0]])
    click_C, shown_C = np.array([0.4, 0.2]), np.array([0.0, 0.5])
    assert expected(click_C, shown_C, probability_LC) == pytest.approx(
        0.4 + (1 - (1 - 0.85 * 0.2) * 0.5)
    )


def test_versions_are_asked_from_their_day_and_held_candidates_until_the_next_run(place):
    runs = [RUNS[0], _run(1, "v1", None), _run(3, "v1", "v2")]
    told = [(one.name, one.first, one.last) for one in asked_of(place, runs)]
    assert told == [("v1", 0, 5), ("candidate of day 2", 2, 3), ("v2", 4, 5)]


def test_page_and_terminal_say_what_was_found():
    watched = Watched({3: ["gini (all)"]}, [_act(3, "rollback", before="v2", to="v1")])
    found = outcome(PLAN, DAYS, RUNS, WORTH, watched)
    page, screen = render(found), Console(width=140, record=True)
    show(found, screen)
    text = screen.export_text()
    for said in (total(found), promotions(found), change(found), acts(found)):
        assert said in page
        assert said[:60] in text
    assert page.count("<svg") == 3
    assert "gini (all)" in page
    assert "v2 to v1" in page
    assert "http" not in page.replace('xmlns="http', "").replace('xlink="http', "")


def test_what_nobody_watched_is_not_said_to_be_calm():
    found = outcome(PLAN, DAYS, RUNS, WORTH, Watched())
    assert "nothing watched" in change(found)
    assert "not watched" in render(found)
    assert acts(found) == ""
