"""The library without a pipeline: what it answers, and what it refuses in one line."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tessera import api
from tessera.contracts.errors import BadInput, BadParams

PARAMS = api.HstuParams(width=8, blocks=1, length=8, epochs=1, demand_days=0.0, top=3)
LOOSE = api.OpeParams(min_ess=50.0, reward_trees=5, permutations=4)


@pytest.fixture(scope="module")
def recommender(served_market):
    return api.train(served_market["events"], served_market["items"], params=PARAMS)


@pytest.fixture(scope="module")
def log(served_market):
    names = ("exposures", "outcomes", "users", "items")
    return api.read_log(**{name: served_market[name] for name in names}, params=LOOSE)


def test_lists_leave_out_what_a_user_has_and_come_in_order(recommender, served_market):
    rows = api.recommend(recommender).to_pylist()
    had = {(row["user_id"], row["item_id"]) for row in served_market["events"].to_pylist()}
    assert not had & {(row["user_id"], row["item_id"]) for row in rows}
    assert [(row["user_id"], row["rank"]) for row in rows] == sorted(
        (row["user_id"], row["rank"]) for row in rows
    )
    assert {row["rank"] for row in rows} == {1, 2, 3}


def test_the_list_of_one_user_is_that_among_all(recommender):
    mine = api.recommend(recommender, ["u07"], top=2).to_pylist()
    among = [row for row in api.recommend(recommender).to_pylist() if row["user_id"] == "u07"][:2]
    assert [row["item_id"] for row in mine] == [row["item_id"] for row in among]
    np.testing.assert_allclose(
        [row["score"] for row in mine], [row["score"] for row in among], rtol=1e-5
    )


def test_pandas_and_arrow_frames_are_the_same(served_market, recommender):
    again = api.train(
        served_market["events"].to_pandas(), served_market["items"].to_pandas(), params=PARAMS
    )
    assert api.recommend(again).equals(api.recommend(recommender))


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


def without(rows, name):
    return rows.drop_columns(name)


def with_first(rows, name, value):
    values = [value, *rows[name].to_pylist()[1:]]
    at = rows.schema.get_field_index(name)
    return rows.set_column(at, name, pa.array(values, rows.schema.field(at).type))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: {"events": without(t["events"], "action")}, "events has no column action"),
        (lambda t: {"events": with_first(t["events"], "action", "bought")},
         "events: 1 of 320 rows break a rule, such as action: not one of"),
        (lambda t: {"events": with_first(t["events"], "item_id", "i99")},
         "events: 1 rows are of items that are not in items, such as 'i99'"),
        (lambda t: {"events": with_first(t["events"], "event_id", "0001")},
         "events: several rows have the same event_id"),
        (lambda t: {"events": t["events"].slice(0, 0)}, "events has no row"),
        (lambda t: {"items": with_first(t["items"], "item_id", "i01")}, "the same item_id"),
        (lambda t: {"events": [1, 2]}, "events is no frame"),
    ],
)  # fmt: skip
def test_wrong_frames_are_refused_in_one_line(change, says, served_market):
    given = {name: served_market[name] for name in ("events", "items")}
    with pytest.raises(BadInput) as error:
        api.train(**given | change(served_market), params=PARAMS)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_cut_that_leaves_nothing_to_learn_is_refused(served_market):
    for cut, says in (("2020-01-01", "leaves nothing to learn"), ("soon", "is no ISO time")):
        with pytest.raises(BadParams, match=says):
            api.train(served_market["events"], served_market["items"], cut=cut, params=PARAMS)


def test_nobody_and_no_list_are_refused(recommender):
    with pytest.raises(BadInput, match="1 users have no event, such as 'nobody'"):
        api.recommend(recommender, ["u01", "nobody"])
    with pytest.raises(BadParams, match="top is 0"):
        api.recommend(recommender, top=0)


def test_scores_of_other_requests_are_refused(log, served_market):
    with pytest.raises(BadInput, match="1 of .* requests are not scored"):
        api.policy_by_scores(log, served_market["scores"].slice(1))
    first = served_market["scores"]["candidate_scores"][0].as_py()
    broken = with_first(served_market["scores"], "candidate_scores", [float("nan"), *first[1:]])
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
