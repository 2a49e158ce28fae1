"""Who has been judged before decides what share of alpha is left, and nothing else does."""

import json
import math

import pytest

from tessera.ope.params import OpeParams
from tessera.ope.spending import stand

CUT = "2024-05-01T00:00:00+00:00"


@pytest.fixture
def standing(tmp_path):
    """Ask for the standing of a model that is one number, after these were judged."""

    def ask(weight=1.0, judged=(), cut=CUT, **params):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / "config.json").write_text(json.dumps(weight))
        (tmp_path / "judged.json").write_text(json.dumps({"candidates": judged}))
        return stand(tmp_path / "model", tmp_path / "judged.json", cut, OpeParams(**params))

    return ask


def test_the_first_candidate_is_number_one(standing):
    assert standing().k == 1


def test_a_new_model_comes_after_all_that_were_judged(standing):
    assert standing(2.0, [standing(0.0).candidate, standing(1.0).candidate]).k == 3


def test_another_look_at_the_same_candidate_keeps_its_place(standing):
    others = [standing(0.0).candidate, standing(1.0).candidate, standing(2.0).candidate]
    assert standing(1.0, others).k == 2


@pytest.mark.parametrize("change", [{"epsilon": 0.5}, {"cap": 3.0}, {"cut": "2024-06-01"}])
def test_to_ask_in_another_way_is_to_try_again(standing, change):
    assert standing(judged=[standing().candidate], **change).k == 2


def test_the_kth_candidate_is_held_to_its_share_of_alpha(world):
    made = world(12_000)
    first = made.judge()
    made.judged = ("a", "b")
    third = made.judge()
    told = {name: third["primary"][name] for name in ("k", "alpha", "alpha_k")}
    share = 0.05 * 6 / math.pi**2
    assert told == {"k": 3, "alpha": 0.05, "alpha_k": pytest.approx(share / 9)}
    assert first["primary"]["alpha_k"] == pytest.approx(share)
    assert third["primary"]["lower"] < first["primary"]["lower"]
    assert third["primary"]["upper"] > first["primary"]["upper"]
    assert third["guardrails"] == first["guardrails"], "each guardrail is held to alpha itself"


def test_a_candidate_good_enough_for_the_first_place_is_held_at_the_thousandth(world):
    made = world(12_000)
    assert made.judge()["decision"] == "PROMOTE"
    made.judged = tuple(str(n) for n in range(999))
    assert made.judge()["decision"] == "HOLD"
