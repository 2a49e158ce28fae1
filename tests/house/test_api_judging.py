"""Judging without a pipeline: what a log says of a policy, and what is refused in one line."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tessera import api
from tessera.contracts.errors import BadInput

LOOSE = api.OpeParams(min_ess=50.0, reward_trees=5, permutations=4)


@pytest.fixture(scope="module")
def log(served_market):
    names = ("exposures", "outcomes", "users", "items")
    return api.read_log(**{name: served_market[name] for name in names}, params=LOOSE)


def test_the_candidate_that_knows_the_clicks_beats_what_served(log, served_market):
    candidate = api.policy_by_scores(log, served_market["scores"])
    answer = api.judge(log, candidate, api.policy_that_served(log))
    assert 0 < answer.lower < answer.lift < answer.upper
    assert set(answer.estimates) == {"rips", "snrips", "dm", "dr", "switch_dr"}
    assert answer.decision == "PROMOTE"
    assert "not measured: " in answer.reason
    later = api.judge(log, candidate, api.policy_that_served(log), k=50)
    assert later.lower < answer.lower


def test_a_policy_does_not_beat_itself(log, served_market):
    candidate = api.policy_by_scores(log, served_market["scores"])
    answer = api.judge(log, candidate, candidate)
    assert (answer.decision, answer.lift) == ("HOLD", 0.0)


def test_probabilities_and_the_scores_behind_them_weigh_alike(log, served_market):
    by_scores = api.policy_by_scores(log, served_market["scores"])
    by_chances = api.policy_by_probabilities(log, by_scores.wanted_NLC)
    np.testing.assert_array_equal(by_chances.weight_NL, by_scores.weight_NL)
    champion = api.policy_that_served(log)
    answers = [api.judge(log, one, champion) for one in (by_scores, by_chances)]
    assert answers[0].lift == answers[1].lift
    assert answers[1].lower <= answers[0].lower


def test_without_users_and_items_every_candidate_may_be_shown(served_market):
    found = api.read_log(served_market["exposures"], served_market["outcomes"], params=LOOSE)
    assert found.allowed_NC.all()
    assert not found.guess_NLC.any()


def test_scores_of_other_requests_are_refused(log, served_market):
    with pytest.raises(BadInput, match="1 of .* requests are not scored"):
        api.policy_by_scores(log, served_market["scores"].slice(1))
    rows = served_market["scores"].to_pylist()
    rows[0]["candidate_scores"][0] = float("nan")
    broken = pa.Table.from_pylist(rows, served_market["scores"].schema)
    with pytest.raises(BadInput, match="scores: candidate_NC holds nan"):
        api.policy_by_scores(log, broken)


def test_probabilities_that_are_none_are_refused(log):
    served_NLC = log.requests.served_NLC
    again_NLC = served_NLC.copy()
    again_NLC[:, 1] = served_NLC[:, 0]
    for wrong, says in (
        (served_NLC[:, :1], "has 1 rows of L"),
        (-served_NLC, "negative"),
        (0.5 * served_NLC, "does not sum to 1"),
        (again_NLC, "items again that stand above"),
    ):
        with pytest.raises(ValueError, match=says):
            api.policy_by_probabilities(log, wrong)


def test_a_log_without_requests_after_the_cut_is_refused(served_market):
    with pytest.raises(BadInput, match="no request is left to judge"):
        api.read_log(served_market["exposures"], served_market["outcomes"], cut="2030-01-01")
    with pytest.raises(BadInput, match="give both or neither"):
        api.read_log(
            served_market["exposures"], served_market["outcomes"], users=served_market["users"]
        )
