"""Which share of alpha a candidate is held to, and what a verdict says of it."""

import json
import math

import pytest

from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.spending import read_standing


def test_outside_a_registry_every_candidate_is_the_first(tmp_path):
    (tmp_path / "standing.json").write_text("{}")
    found = read_standing(tmp_path / "standing.json", OpeParams(alpha=0.02))
    assert (found.k, found.look, found.alpha, found.loosened) == (1, 1, 0.02, ())


def test_what_the_runner_told_is_read_and_goes_into_the_verdict(tmp_path):
    told = {"candidate": "c", "look": {"k": 3, "look": 2, "alpha": 0.04}, "judged": {"code": "x"}}
    (tmp_path / "standing.json").write_text(json.dumps(told))
    found = read_standing(tmp_path / "standing.json", OpeParams())
    assert (found.candidate, found.k, found.look, found.alpha) == ("c", 3, 2, 0.04)
    assert read_standing(tmp_path / "standing.json", OpeParams(alpha=0.01)).alpha == 0.01
    assert found.facts == {"look": told["look"], "judged": told["judged"]}


def test_params_looser_than_the_floors_are_invalid_and_nothing_is_shown(world):
    made = world(12_000)
    made.told = {"loosened": ["ope.margin 1 is looser than the floor 0"]}
    verdict = made.judge(margin=1.0, epsilon=1.0)
    assert verdict["decision"] == "INVALID"
    assert "ope.margin 1 is looser than the floor 0: tighten it" in verdict["reason"]
    assert verdict["candidate"] is verdict["estimates"] is verdict["primary"] is None
    assert verdict["loosened"] == made.told["loosened"]


def test_a_verdict_says_what_it_is_about_and_what_was_spent(world):
    made = world(3000)
    made.told = {"judged": {"artifacts": {"model": "abc"}}}
    verdict = made.judge()
    assert verdict["judged"] == made.told["judged"]
    assert verdict["look"]["k"] == 1


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
    dismissed = [
        next(row["value"] for row in verdict["guardrails"] if row["name"] == "dismissals_upper")
        for verdict in (first, third)
    ]
    assert dismissed[1] > dismissed[0], "guardrails are spent over candidates, too"


def test_a_candidate_good_enough_for_the_first_place_is_held_at_the_thousandth(world):
    made = world(12_000)
    assert made.judge()["decision"] == "PROMOTE"
    made.judged = tuple(str(n) for n in range(999))
    assert made.judge()["decision"] == "HOLD"
