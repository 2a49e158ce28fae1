"""A verdict in a few lines, and of one that another format was written in."""

from tessera.contracts.verdict import FORMAT
from tessera.platform.release.verdict_text import evidence

PRIMARY = {
    "metric": "clicks", "lift": 0.01, "relative_lift": None, "alpha": 0.05,
    "alpha_k": 0.03, "level": 0.0034, "lower": -0.004, "upper": 0.02,
}  # fmt: skip


def test_the_bounds_are_told_at_the_level_that_they_have():
    verdict = {
        "primary": PRIMARY,
        "estimates": {"champion": {"mean": 0.1}},
        "n_requests": 10,
        "prechecks": [],
        "guardrails": [],
    }
    told = evidence({"version": FORMAT, **verdict})
    assert "99.66 % bounds [-0.0040, +0.0200]" in told[1]
    assert evidence({"version": 1, **verdict}) == [
        "written as format 1: what it rests on stands on its page"
    ]


def test_a_batch_is_told_in_one_line():
    rows = [
        {"temperature": 1.0, "decision": "HOLD", "proposed": False},
        {"temperature": 0.25, "decision": "PROMOTE", "proposed": True},
    ]
    verdict = {
        "version": FORMAT,
        "primary": {**PRIMARY, "alpha_k": 0.03, "level": 0.015},
        "estimates": {"champion": {"mean": 0.1}},
        "n_requests": 10,
        "prechecks": [],
        "guardrails": [],
        "batch": rows,
    }
    lines = evidence(verdict)
    assert "98.5 % bounds" in lines[1]
    assert lines[2] == (
        "batch: 2 policies share an error rate of 3 %: temperature 1 HOLD, "
        "temperature 0.25 PROMOTE (proposed)"
    )
    held = [{**rows[0], "proposed": True}, {**rows[1], "decision": "HOLD", "proposed": False}]
    assert "temperature 1 HOLD (this verdict), " in evidence({**verdict, "batch": held})[2]
    assert evidence({**verdict, "batch": None}) == [*lines[:2], *lines[3:]]


def test_the_first_line_says_what_was_judged_and_that_a_list_on_demand_was_not():
    policy = {"slate_size": 3, "top_k": 9, "candidates": "suitable candidates"}
    verdict = {
        "version": FORMAT,
        "primary": PRIMARY,
        "policy": {**policy, "temperature": 0.5, "epsilon": 0.1},
        "estimates": {"champion": {"mean": 0.1}},
        "n_requests": 10,
        "prechecks": [],
        "guardrails": [],
    }
    first = evidence(verdict)[0]
    assert first.startswith("Judged: lists of 3, drawn from the best 9 suitable candidates")
    assert "`tessera recommend` shows what was not judged" in first
    assert "`tessera serve` draws such lists and logs them" in first


def test_what_was_spent_on_the_log_is_told():
    look = {"k": 2, "look": 3, "alpha": 0.05, "share": 0.0076, "spent": 0.037995}
    verdict = {
        "version": FORMAT,
        "primary": PRIMARY,
        "policy": None,
        "estimates": {"champion": {"mean": 0.1}},
        "n_requests": 10,
        "prechecks": [],
        "guardrails": [],
        "look": look,
    }
    assert "spent 0.038 of 0.05 on this log: candidate 2, look 3" in evidence(verdict)
