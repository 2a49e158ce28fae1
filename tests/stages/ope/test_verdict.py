"""The rule, at every corner."""

import pytest

from tessera.stages.ope.verdict import Check, Evidence, decide

GOOD = Check("ess", 5000, 1000, ok=True, says="")
THIN = Check("ess", 12.0, 1000, ok=False, says="the candidate differs too much")
NARROW = Check("gini_rise", 0.4, 0.2, ok=False, says="it would concentrate on fewer items")


def judge(lower, upper, *, prechecks=(GOOD,), guardrails=(GOOD,), signs=(0.1, 0.1), margin=0.0):
    return decide(Evidence(prechecks, guardrails, lower, upper, signs, margin))


def test_a_lower_bound_above_zero_promotes():
    assert judge(0.01, 0.2)[0] == "PROMOTE"


def test_an_upper_bound_below_zero_rejects():
    assert judge(-0.2, -0.01, signs=(-0.1,))[0] == "REJECT"


def test_zero_inside_holds():
    assert judge(-0.01, 0.2)[0] == "HOLD"


def test_an_exact_tie_holds():
    assert judge(0.0, 0.0, signs=(0.0, 0.0)) == (
        "HOLD",
        "lower bound of the lift is +0.0000, needs > 0",
    )


def test_a_failed_precheck_is_invalid_however_good_the_bound():
    decision, reason = judge(0.5, 0.9, prechecks=(GOOD, THIN))
    assert decision == "INVALID"
    assert reason == "the candidate differs too much (ess is 12, threshold 1000)"


def test_a_broken_guardrail_holds_what_would_be_promoted():
    decision, reason = judge(0.5, 0.9, guardrails=(NARROW,))
    assert decision == "HOLD"
    assert "concentrate on fewer items" in reason


@pytest.mark.parametrize(("may_lack", "decision", "reason"), [
    (True, "PROMOTE", "every guardrail holds (not measured: roi_lower)"),
    (False, "HOLD", "> 0, but it may earn less (roi_lower was not measured)"),
])  # fmt: skip
def test_a_guardrail_that_was_not_measured_passes_only_where_nothing_could_be(
    may_lack, decision, reason
):
    blind = Check(
        "roi_lower", float("nan"), -0.01, ok=None, says="it may earn less", may_lack=may_lack
    )
    found, why = judge(0.5, 0.9, guardrails=(GOOD, blind))
    assert found == decision
    assert why.endswith(reason)


def test_a_broken_guardrail_does_not_save_a_worse_candidate():
    assert judge(-0.2, -0.1, guardrails=(NARROW,))[0] == "REJECT"


def test_estimators_that_disagree_hold():
    decision, reason = judge(0.01, 0.2, signs=(0.1, -0.02))
    assert decision == "HOLD"
    assert "disagree" in reason


@pytest.mark.parametrize(("lower", "decision"), [(-0.04, "PROMOTE"), (-0.06, "HOLD")])
def test_a_margin_accepts_a_small_loss(lower, decision):
    assert judge(lower, 0.2, signs=(-0.01,), margin=0.05)[0] == decision


def test_a_bound_that_is_not_a_number_never_promotes():
    assert judge(float("nan"), float("nan"))[0] == "HOLD"


FADING = Check("last_third_lower", -0.001, 0.0, ok=False, says="fading: it may gain nothing")


def test_a_lift_that_fades_is_held_with_that_reason_and_before_any_other():
    evidence = Evidence((GOOD,), (NARROW,), 0.01, 0.2, (0.1, -0.1), beside=(GOOD, FADING))
    decision, reason = decide(evidence)
    assert decision == "HOLD"
    assert reason.endswith("but fading: it may gain nothing "
                           "(last_third_lower is -0.001, threshold 0)")  # fmt: skip


def test_what_fades_and_is_worse_is_rejected():
    assert decide(Evidence((GOOD,), (), -0.2, -0.1, (-0.1,), beside=(FADING,)))[0] == "REJECT"
