"""Several temperatures of one model on one log: levels by Holm, and the best that passes."""

import numpy as np
import pytest
from pydantic import ValidationError

from benchmarks.intervals import holm
from tessera.offpolicy.holm import levels, share_of
from tessera.offpolicy.sequences import Wager, log_wealth
from tessera.stages.ope.batch import _proposed
from tessera.stages.ope.params import OpeParams

FLAT, SERVED, SHARP = 20.0, 1.0, 0.5


def p_value(excess_N):
    """Anytime-valid p-value of "the mean is at most 0": one over the wealth of the bettor."""
    return min(1.0, np.exp(-log_wealth([Wager(excess_N, 2.0)], 0.0)))


def row_of(verdict, temperature):
    (row,) = [row for row in verdict["batch"] if row["temperature"] == temperature]
    return row


@pytest.fixture
def flat_first(world):
    """A verdict on a batch whose first policy is nearly uniform, and the folder of the run."""
    made = world(20_000)
    return made.judge(temperature=FLAT, further_temperatures=[SERVED, SHARP], permutations=5), made


def test_the_levels_are_those_of_holm_over_p_values(rng):
    sizes = []
    for _ in range(100):
        lift_K = rng.choice([0.0, 0.15, 0.2, 0.25, 0.6], 4)
        excess_KN = np.maximum(rng.normal(lift_K[:, None], 1.0, (4, 400)), -2.0)
        p_K = np.array([p_value(x_N) for x_N in excess_KN])
        found = levels(lambda k, level: p_K[k] < level, 4, 0.05)  # noqa: B023
        passed = [p < level for p, level in zip(p_K, found, strict=True)]
        np.testing.assert_array_equal(passed, holm(p_K, 0.05))
        sizes.append(len(set(found)))
    assert sizes.count(2) > 20
    assert 3 in sizes, "some pass only because others did"


def test_each_that_passes_leaves_the_others_more():
    def passes(k, level):
        # The third needs a level above a third of alpha; the second passes at none.
        return {0: True, 1: False, 2: level > 0.02}[k]

    assert levels(passes, 3, 0.05) == pytest.approx([0.05 / 3, 0.05, 0.05 / 2])


def test_who_passes_late_is_not_proposed_for_the_looser_level():
    """The second has the higher bound only because it is held to less."""
    rows = [
        {"decision": "PROMOTE", "lower": 0.0002},
        {"decision": "PROMOTE", "lower": 0.0006},
        {"decision": "HOLD", "lower": 0.0009},
    ]
    assert _proposed(rows, [0.0002, -0.0001, 0.0009]) == 0


@pytest.mark.parametrize(
    ("decisions", "found"),
    [
        (["HOLD", "HOLD", "HOLD"], 1),
        (["REJECT", "HOLD", "INVALID"], 1),
        (["HOLD", "REJECT", "INVALID"], 0),
        (["INVALID", "REJECT", "INVALID"], 1),
        (["INVALID", "INVALID", "PROMOTE"], 2),
    ],
)
def test_if_none_passes_the_best_of_what_came_out_best_is_told_of(decisions, found):
    """Else a model would be told of as it is served worst: blunter than the champion."""
    rows = [{"decision": one} for one in decisions]
    assert _proposed(rows, [-0.05, -0.01, -0.02]) == found


def test_a_batch_of_one_has_alpha_whole():
    assert levels(lambda _k, _level: True, 1, 0.05) == [0.05]


def test_the_best_that_passes_is_proposed_though_the_first_is_held(flat_first):
    verdict, made = flat_first
    assert [(row["temperature"], row["decision"]) for row in verdict["batch"]] == [
        (FLAT, "HOLD"), (SERVED, "PROMOTE"), (SHARP, "PROMOTE")
    ]  # fmt: skip
    assert verdict["decision"] == "PROMOTE"
    best = max(verdict["batch"][1:], key=lambda row: row["lower"])
    assert [row["temperature"] for row in verdict["batch"] if row["proposed"]] == [
        best["temperature"]
    ]
    assert verdict["policy"]["temperature"] == best["temperature"]
    primary = verdict["primary"]
    assert {name: primary[name] for name in ("lift", "lower", "upper", "level")} == {
        name: best[name] for name in ("lift", "lower", "upper", "level")
    }
    assert verdict["reason"] == best["reason"]
    assert verdict["sequence"]["lower"][-1] == best["lower"]
    alone = made.judge(temperature=best["temperature"], permutations=5)
    for told in ("estimates", "prechecks", "weights", "slices", "inputs", "policy"):
        assert verdict[told] == alone[told], told
    for one, other in zip(verdict["guardrails"], alone["guardrails"], strict=True):
        if one["name"] == "dismissals_upper":  # the policies of a batch divide its error rate
            assert one["value"] > other["value"]
        else:
            assert one == other


def test_a_batch_shares_what_one_candidate_would_get(flat_first):
    verdict, made = flat_first
    share = share_of(0.05, 1)
    assert verdict["primary"]["alpha_k"] == pytest.approx(share)
    assert [row["level"] for row in verdict["batch"]] == pytest.approx(
        [share, share / 3, share / 3]
    )
    alone = made.judge(temperature=SERVED, permutations=0)
    assert alone["primary"]["level"] == alone["primary"]["alpha_k"]
    assert alone["batch"] is None
    held = row_of(verdict, SERVED)
    assert held["lift"] == alone["primary"]["lift"]
    assert held["lower"] < alone["primary"]["lower"]
    assert held["upper"] > alone["primary"]["upper"]
    made.judged = ("another",)
    later = made.judge(temperature=FLAT, further_temperatures=[SERVED, SHARP], permutations=5)
    assert row_of(later, SERVED)["level"] == pytest.approx(share / 4 / 3)


def test_one_that_the_log_cannot_answer_for_leaves_the_next_best(flat_first):
    verdict, made = flat_first
    found = made.judge(
        temperature=FLAT, further_temperatures=[SERVED, SHARP], permutations=0,
        min_ess=verdict["weights"]["ess"] + 1,
    )  # fmt: skip
    assert row_of(verdict, SHARP)["proposed"]
    assert row_of(found, SHARP)["decision"] == "INVALID"
    assert "differs too much from what was served" in row_of(found, SHARP)["reason"]
    assert row_of(found, SHARP)["lower"] > row_of(found, SERVED)["lower"]
    assert row_of(found, SERVED)["proposed"]
    assert (found["decision"], found["policy"]["temperature"]) == ("PROMOTE", SERVED)


def test_if_none_passes_the_best_is_told_of(world):
    verdict = world(3000).judge(temperature=FLAT, further_temperatures=[10.0], permutations=0)
    assert verdict["decision"] == "HOLD"
    assert [row["decision"] for row in verdict["batch"]] == ["HOLD", "HOLD"]
    assert [row["proposed"] for row in verdict["batch"]] == [False, True]
    assert verdict["batch"][1]["lower"] > verdict["batch"][0]["lower"]
    assert [row["level"] for row in verdict["batch"]] == pytest.approx([share_of(0.05, 1) / 2] * 2)
    assert verdict["policy"]["temperature"] == 10.0


def test_a_log_that_cannot_answer_is_invalid_for_all_and_estimates_nothing(world):
    made = world(3000)
    made.change("exposures", "propensity", np.full(len(made.tables["exposures"]), 1.5))
    verdict = made.judge(further_temperatures=[SHARP])
    assert verdict["decision"] == "INVALID"
    assert verdict["primary"] is verdict["estimates"] is verdict["candidate"] is None
    nothing = dict.fromkeys(("lift", "lower", "upper", "level"))
    told = {"decision": "INVALID", "reason": verdict["reason"], **nothing}
    assert verdict["batch"] == [
        {"temperature": SERVED, **told, "proposed": True},
        {"temperature": SHARP, **told, "proposed": False},
    ]
    page = made.page()
    assert "it can answer for none of them" in page


def test_without_exposures_the_batch_is_invalid_too(world):
    made = world(200)
    for name in ("exposures", "outcomes", "scores"):
        made.tables[name] = made.tables[name].slice(0, 0)
    verdict = made.judge(further_temperatures=[SHARP])
    assert [row["decision"] for row in verdict["batch"]] == ["INVALID", "INVALID"]
    assert verdict["batch"][0]["reason"].startswith("no exposures")
    assert made.judge()["batch"] is None


def test_the_page_tells_of_the_batch_and_of_its_levels(flat_first):
    verdict, made = flat_first
    page = made.page()
    assert page.count("data-temperature=") == 3
    assert "3 ways to serve the same model" in page
    assert "with an error rate of 3\N{NO-BREAK SPACE}%, the gain is at least" in page
    assert "1\N{NO-BREAK SPACE}% by Holm&#39;s method, within the 3" in page
    assert "share one error rate of 3\N{NO-BREAK SPACE}%" in page
    proposed = page.split("data-temperature=")[1:]
    shown = [part.split("</tr>")[0] for part in proposed]
    for row, text in zip(verdict["batch"], shown, strict=True):
        assert f"{100 * row['level']:.2g}\N{NO-BREAK SPACE}%" in text
        assert row["decision"] in text
        assert ("proposed" in text) == row["proposed"]
    made.judge(temperature=SERVED, permutations=0)
    assert "data-temperature=" not in made.page()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"further_temperatures": [0.5, 0.5]}, "must differ, not 1, 0.5, 0.5"),
        ({"further_temperatures": [1.0]}, "must differ, not 1, 1"),
        ({"further_temperatures": [0.0]}, "greater than 0"),
        ({"further_temperatures": [101.0]}, "less than or equal to 100"),
        ({"further_temperatures": [k + 2.0 for k in range(10)]}, "at most 9 items"),
        ({"further_temperatures": [0.5], "candidate": "champion"}, "in no batch"),
    ],
)
def test_a_broken_batch_is_refused_in_one_line(given, said):
    with pytest.raises(ValidationError) as refused:
        OpeParams(**given)
    (error,) = refused.value.errors()
    assert said in error["msg"]
    assert "\n" not in error["msg"]
