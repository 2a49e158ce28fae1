"""A verdict that is not the one hoped for says what would give the log an answer."""

from __future__ import annotations

import pytest

from tessera.stages.report.hints import hints


def check(name, value, threshold, ok=False):
    return {"name": name, "value": value, "threshold": threshold, "ok": ok}


def verdict(decision, *rows, **facts):
    return {"decision": decision, "prechecks": rows, "guardrails": [], "n_requests": 4000,
            "params": {"temperature": 0.5}, **facts}  # fmt: skip


def test_a_small_log_is_told_how_many_requests_it_needs_and_what_to_turn():
    (told,) = hints(verdict("INVALID", check("ess", 400.0, 1000.0)))
    assert told.startswith("4,000 requests after the cut are worth 400 to this candidate, 1,000")
    assert "about 10,000 in all" in told
    assert "raise ope.temperature (judged at 0.5)" in told
    assert "synth.slate_size" in told


def test_of_a_batch_the_temperature_that_was_told_of_is_named():
    row = check("ess", 400.0, 1000.0)
    (told,) = hints(verdict("INVALID", row, policy={"temperature": 10.0}))
    assert "raise ope.temperature (judged at 10)" in told


@pytest.mark.parametrize("name", ["ess", "largest_share"])
def test_what_the_champion_fails_is_no_matter_of_the_temperature_of_the_candidate(name):
    row = check(name, 44.0, 50.0) | {"says": "for the champion, a single request carries it"}
    (told,) = hints(verdict("INVALID", row))
    assert "let the champion serve" in told
    assert "ope.temperature" not in told
    assert "this candidate" not in told


def test_codes_that_cannot_tell_items_apart_name_their_params():
    rows = [check("sid_capacity", 0.19, 0.5)]
    (told,) = hints(verdict("HOLD", guardrails=rows))
    assert "codes tell 19 % of the items apart, 50 % are needed" in told
    assert "sid.codebook_size" in told


def test_what_holds_or_was_not_measured_needs_no_hint():
    rows = check("ess", 400.0, 100.0, ok=True), check("sid_capacity", None, 0.5, ok=None)
    assert hints(verdict("INVALID", *rows)) == []
    assert hints(verdict("PROMOTE", check("ess", 1.0, 2.0))) == []


@pytest.mark.parametrize(
    ("lift", "lower", "told"), [(0.02, -0.02, "about 16,000 requests"), (-0.01, -0.02, None)]
)
def test_a_hold_says_how_long_to_wait_if_the_lift_stays(lift, lower, told):
    found = hints(verdict("HOLD", primary={"lift": lift, "lower": lower, "margin": 0.0}))
    assert [told in line for line in found] == ([True] if told else [])


def test_no_hint_says_how_to_loosen_the_gate():
    from tessera.stages.report.hints import _HINTS

    for name in _HINTS:
        (told,) = hints(verdict("INVALID", check(name, 0.1, 0.5)))
        assert "floors" not in told
        assert "ope.m" not in told, "thresholds are ope.min_ and ope.max_"
