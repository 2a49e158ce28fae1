"""The served log as arrays: time order, padding, alignment of scores."""

import ibis
import numpy as np
import pyarrow as pa
import pytest

from tessera.offpolicy.requests import NOBODY
from tessera.stages.ope.exposures import aligned_scores, attributed, requests


def read(made):
    seen = {name: ibis.memtable(table) for name, table in made.tables.items()}
    found = attributed(seen["exposures"], seen["outcomes"], seen["users"], 7.0)
    items = made.tables["items"]["item_id"].combine_chunks()
    return requests(found, items), seen, items


def test_requests_come_in_time_order_whatever_they_are_called(world):
    made = world(50)
    rows = made.tables["exposures"]
    backwards = [f"r{999 - int(r[1:]):06d}" for r in rows["request_id"].to_pylist()]
    made.change("exposures", "request_id", backwards)
    log, _, _ = read(made)
    assert (np.diff(log.event_us_N) > 0).all()
    assert log.request_ids[0].as_py() == "r000999"
    np.testing.assert_array_equal(log.propensity_NL[0], rows["propensity"].to_numpy()[:3])


def test_short_slates_and_short_candidate_lists_are_padded(world):
    made = world(5)
    rows = made.tables["exposures"].slice(0, 4)
    made.tables["exposures"] = rows
    ids = rows["candidate_ids"].to_pylist()
    chances = rows["candidate_propensities"].to_pylist()
    at = ids[3].index(rows["item_id"][3].as_py())
    made.change("exposures", "candidate_ids", [*ids[:3], [ids[3][at]]])
    made.change("exposures", "candidate_propensities", [*chances[:3], [1.0]])
    log, _, _ = read(made)
    assert log.chosen_NL[1].tolist() == [0, NOBODY, NOBODY]
    assert (log.candidate_NC[1, 1:] == NOBODY).all()
    assert log.propensity_NL[1, 1:].tolist() == [1.0, 1.0]
    assert log.served_NLC[1, 0].sum() == 1.0


def test_rewards_land_on_the_position_of_their_item(world):
    made = world(300)
    log, _, items = read(made)
    clicks = made.tables["outcomes"].filter(
        pa.compute.equal(made.tables["outcomes"]["action"], "click")
    )
    assert log.reward_NL.sum() == len(clicks)
    request, item = clicks["request_id"][0].as_py(), clicks["item_id"][0].as_py()
    n = log.request_ids.to_pylist().index(request)
    shown = [items[int(log.candidate_NC[n, c])].as_py() for c in log.chosen_NL[n]]
    assert log.reward_NL[n, shown.index(item)] == 1.0


def test_scores_for_other_candidates_count_as_missing(world):
    made = world(100)
    log, seen, items = read(made)
    late = len(made.tables["scores"])
    assert aligned_scores(seen["scores"], log, items).missing == 100 - late
    ids = made.tables["scores"]["candidate_ids"].to_pylist()
    made.change("scores", "candidate_ids", [ids[0][::-1], *ids[1:]])
    scores = ibis.memtable(made.tables["scores"])
    found = aligned_scores(scores, log, items)
    assert found.missing == 100 - late + 1
    assert found.champion_NC is None
    np.testing.assert_allclose(found.candidate_NC[-1], made.scores_NC[-1])


def _lists(row):
    return [name for name, value in row.items() if isinstance(value, list)]


@pytest.mark.parametrize("wider", [True, False])
def test_what_is_scored_beyond_the_log_may_have_other_slates(world, wider):
    made = world(100)
    log, seen, items = read(made)
    scores = made.tables["scores"].to_pylist()
    alone = {**scores[0], "request_id": "not yet judged"}
    for name in _lists(alone):
        alone[name] = alone[name] * 2 if wider else alone[name][:2]
    before = aligned_scores(seen["scores"], log, items)
    rows = [*scores, alone] if wider else [alone]
    table = pa.Table.from_pylist(rows, made.tables["scores"].schema)
    found = aligned_scores(ibis.memtable(table), log, items)
    assert found.missing == (before.missing if wider else len(log))
    if wider:
        np.testing.assert_array_equal(found.candidate_NC, before.candidate_NC)


def test_a_request_that_was_scored_with_more_candidates_is_not_scored(world):
    made = world(100)
    log, seen, items = read(made)
    before = aligned_scores(seen["scores"], log, items)
    scores = made.tables["scores"].to_pylist()
    for name in _lists(scores[0]):
        scores[0][name] = [*scores[0][name], scores[0][name][0]]
    table = pa.Table.from_pylist(scores, made.tables["scores"].schema)
    assert aligned_scores(ibis.memtable(table), log, items).missing == before.missing + 1


def test_an_item_outside_the_candidates_is_counted(world):
    made = world(20)
    ids = made.tables["exposures"]["item_id"].to_pylist()
    made.change("exposures", "item_id", ["elsewhere", *ids[1:]])
    log, _, _ = read(made)
    assert log.counts["exposures_outside_candidates"] == 1


def test_unknown_items_are_taken_neither_for_one_another_nor_for_a_known_one(world):
    made = world(40)
    ids = made.tables["exposures"]["item_id"].to_pylist()
    requests_R = made.tables["exposures"]["request_id"].to_pylist()
    last = max(ids)
    at = next(  # where one request ends with the last of the items, and the next begins
        row for row in range(2, len(ids) - 2)
        if requests_R[row] != requests_R[row + 1] == requests_R[row + 2] and ids[row] == last
    )  # fmt: skip
    ids[at + 1 : at + 3] = ["elsewhere", "nowhere"]
    made.change("exposures", "item_id", ids)
    log, _, _ = read(made)
    assert log.dropped["item_repeated"] == 0
    assert log.counts["exposures_outside_candidates"] == 2


@pytest.mark.parametrize("missing", [True, False])
def test_a_user_of_whom_nothing_is_known_has_class_zero(world, missing):
    made = world(20)
    if missing:
        made.tables["users"] = made.tables["users"].slice(0, 0)
    log, _, _ = read(made)
    assert (log.risk_N == 0).all() == missing
