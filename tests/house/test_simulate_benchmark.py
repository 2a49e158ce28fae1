"""What is said of several seeds of the closed loop."""

import json

import pytest

from benchmarks import simulate as benchmark
from benchmarks.render import SECTIONS, render
from benchmarks.simulate import kept, row, told
from tessera.platform.simulate.plan import Plan

CHECKS = {section.record: section.checks for section in SECTIONS}


def _seed(gaps, promoted=0, wrong=0, seed=0, acts=(), runs=()):
    days = [{"value": 0.3 + gap, "house": 0.3, "gini": 0.5} for gap in gaps]
    promotions = {"judged": 5, "promoted": promoted, "truly_better": promoted - wrong,
                  "about_equal": 0, "wrong": wrong, "held": 5 - promoted,
                  "held_though_better": 1}  # fmt: skip
    total = {"value": 0.3, "house": 0.2, "best_fixed": 0.3, "oracle": 0.6}
    change = {"alarmed_before": 1, "days_to_alarm": 2, "acted_before": 0, "days_to_act": None,
              "days_to_recovery": seed, "day": 15, "attained_before": 0.2,
              "attained_after": 0.1, "attained_last": 0.15}  # fmt: skip
    plan = Plan(days=len(gaps), seed=seed, scenario="drift").told()
    known = {"plan": plan, "commit": f"c{seed}", "days": days, "promotions": promotions}
    return row({**known, "total": total, "acts": acts, "runs": runs, "change": change,
                "seconds": {"visits": 60.0}})  # fmt: skip


def test_the_last_three_days_say_where_a_seed_ended():
    assert _seed([-9, -9, 0.1, 0.2, 0.3])["ended_above"] == pytest.approx(0.2)


def test_seeds_are_put_together():
    acts = [
        {"act": "rollback", "truth": "worse", "true_lift": -0.1},
        {"act": "retrain", "truth": "not known", "true_lift": None},
    ]
    seeds = [_seed([0.1] * 3, promoted=3, wrong=1, acts=acts), _seed([-0.1] * 3, 1, seed=4)]
    found = told(seeds)
    assert found["ended_below"] == 1
    assert found["least_above"] == pytest.approx(-0.1)
    assert (found["promoted"], found["wrong"], found["wrong_share"]) == (4, 1, 0.25)
    assert found["commits"] == ["c0", "c4"]
    assert (found["acts"], found["rollbacks"]) == ({"rollback": 1, "retrain": 1}, {"worse": 1})
    assert found["change"]["days_to_recovery"] == [0, 4]
    assert found["change"]["days_to_act"] == [None, None]
    assert told([_seed([0.1] * 3)])["wrong_share"] == 0.0


def _run(day, reason, truth="better", true_lift=0.05, **more):
    told = {"champion": "v1", "published": None, "day": day, "reason": reason}
    return {**told, "truth": truth, "true_lift": true_lift, **more}


def test_what_was_held_is_told_by_what_held_it():
    runs = [
        _run(4, "lower bound of the lift is -0.0096, needs > 0", true_lift=0.02),
        _run(9, "... > 0, but fading: over the last third of the requests it may gain nothing"),
        _run(14, "... > 0, but it may be dismissed more often (dismissals_upper is 0.2)"),
        _run(17, "the policy differs too much from what was served (ess is 501.4)"),
        _run(19, "lower bound of the lift is -0.01, needs > 0", truth="worse", true_lift=-0.02),
        _run(24, "planted PROMOTE", published="v2"),
        _run(-1, "the first", champion="v0"),
    ]
    found = told([_seed([0.1] * 30, runs=runs)])
    assert found["held"] == 5
    found = found["of_held"]
    assert found["better_by"] == {
        "no lift shown": 1, "fading": 1, "dismissals": 1, "too different": 1
    }  # fmt: skip
    assert found["better_lifts"] == [0.02, 0.05, 0.05, 0.05]
    assert (found["worse"], found["after_change"], found["better_after_change"]) == (1, 2, 1)


def test_what_was_played_to_its_end_is_only_read(tmp_path, monkeypatch):
    plans = []

    def play(folder, plan, root, say):
        plans.append(plan)
        return {"plan": plan.told()}

    monkeypatch.setattr(benchmark, "simulate", play)
    monkeypatch.setattr(benchmark, "write_page", lambda *_: None)
    plan, other = Plan(days=3), Plan(days=4)
    found = benchmark.played(tmp_path, plan, tmp_path)
    assert benchmark.played(tmp_path, plan, tmp_path) == found
    benchmark.played(tmp_path, other, tmp_path)
    assert plans == [plan, other]


def test_other_seeds_of_the_same_plan_stay(tmp_path):
    plan = Plan(days=3, seed=7, scenario="drift")
    assert kept(plan, [7], tmp_path) == []
    each = [_seed([0.1] * 3, seed=one) for one in (7, 8)] + [_seed([0.1] * 4, seed=9)]
    record = {"figures": {"each": each}}
    (tmp_path / "simulate.json").write_text(json.dumps(record))
    assert kept(plan, [7], tmp_path) == [each[1]]
    assert kept(plan, [6], tmp_path) == each[:2]


def _record(found, **more):
    return {**found, "days": 30, "users": 1000, "seeds": 20, **more}


def test_few_seeds_and_short_months_show_nothing():
    found = told([_seed([0.1] * 3, promoted=3)])
    above, right, quick = (CHECKS["simulate"][one] for one in ("above", "right", "quick"))
    assert above(_record(found)) == right(_record(found)) == quick(_record(found)) == [True]
    assert above(_record(found, seeds=19)) == right(_record(found, seeds=19)) == [False]
    assert above(_record(found, ended_below=1)) == [False]
    assert right(_record(found, wrong_share=0.051)) == [False]
    assert quick(_record(found, seconds={"visits": 1000.0, "runs": 801.0})) == [False]
    assert quick(_record(found, days=10)) == [False]


def test_its_page_tells_of_what_never_came(tmp_path):
    found = told(
        [
            _seed(
                [0.1] * 3,
                promoted=3,
                acts=[{"act": "rollback", "truth": "worse", "true_lift": -0.1}],
            )
        ]
    )
    machine = {"processor": "p", "cores": 2, "memory_gb": 8, "python": "3.11"}
    record = {"figures": found, "machine": machine, "commit": "c", "day": "2026-11-30"}
    (tmp_path / "simulate.json").write_text(json.dumps(record))
    render(tmp_path, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "first act never" in page
    assert "changed: worse 1, a request while they lasted: -0.100 (seed 0)." in page
    assert "had regained 50 to 50 %, 50 % by median" in page
    assert "| 0 | c0 | 0.300 | 0.200 | +0.100 | 5 | 3 | 0 | 1 | 1 |" in page
