from dataclasses import replace

import ibis
import numpy as np
import pyarrow as pa
import pytest
import torch

from tessera.contracts.errors import BadParams
from tessera.contracts.split import TEST, VALIDATION
from tessera.model.params import HstuParams
from tessera.model.sequences.catalogue import read_catalogue, read_codes
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.questions import Lists, ndcg, top_items
from tessera.model.sequences.reading import read_histories
from tessera.model.sequences.requests import Requests, as_requests, read_requests
from tessera.model.sequences.windows import last_windows
from tessera.model.trunk.inference import encode, item_vectors, score_requests
from tessera.model.trunk.model import SequenceModel, Shape

VOCABULARY = [f"i{item:02d}" for item in range(12)]


@pytest.fixture
def histories(rows, split):
    return read_histories(
        ibis.memtable(pa.Table.from_pylist(rows)), split, VOCABULARY, tied_sets=True
    )


@pytest.fixture
def model():
    torch.manual_seed(0)
    shape = Shape("hstu", 8, 2, 1, 6, 0.0, 0.0, True, True, True, 13, ())
    model = SequenceModel(shape, torch.empty(13, 0, dtype=torch.long), torch.arange(13) > 0)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return model.eval()


def test_states_do_not_depend_on_who_shares_the_batch(model, histories):
    windows = last_windows(
        histories.first_U1[:-1], histories.until(TEST), np.full(60, 2 * 10**9), 6
    )
    together = encode(model, histories, windows)
    alone = np.concatenate([encode(model, histories, windows.take([row])) for row in range(60)])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)


def test_a_request_sees_only_events_strictly_before_it(histories):
    first, moment = histories.first_U1, histories.moment_E
    at = moment[first[3] + 5]
    moment = np.array([at, at + 1, 0, at])
    stretches = histories.stretches_before(np.array([3, 3, 3, -1]), moment)
    windows = last_windows(*stretches, moment // 1_000_000, 4)
    assert (windows.stop_W[:3] - first[3]).tolist() == [5, 6, 0]
    assert (windows.start_W[:3] - first[3]).tolist() == [1, 2, 0]
    assert windows.start_W[3] == windows.stop_W[3]


def test_scores_are_cosines_and_unknown_candidates_get_the_least(model, histories):
    moment = np.array([histories.moment_E.max() + 10**6] * 2)
    requests = Requests(np.array([4, -1]), moment, np.array([0, 2, 5]), np.array([1, 0, 2, 3, 3]))
    score = score_requests(model, histories, requests)
    stop = histories.first_U1[4:6]
    windows = last_windows(stop[:1], stop[1:], moment[:1] // 10**6, 6)
    state, item = encode(model, histories, windows), item_vectors(model)
    start = model.start_D.detach().numpy()
    expected = [state[0] @ item[1], -1.0, *(item[[2, 3, 3]] @ start / np.linalg.norm(start))]
    np.testing.assert_allclose(score, expected, atol=1e-6)


def test_an_event_after_the_request_changes_no_score(model, rows, split, tables):
    requests = read_requests(tables.exposures, split)
    asked = {row["user_id"]: row["event_ts"] for row in requests.to_pylist()}
    future = [row if row["event_ts"] < asked[row["user_id"]] else row | {"item_id": "i05"}
              for row in rows]  # fmt: skip

    def scores(of):
        read = read_histories(
            ibis.memtable(pa.Table.from_pylist(of)), split, VOCABULARY, tied_sets=True
        )
        return score_requests(model, read, as_requests(requests, read.user_id_U, VOCABULARY))

    assert future != rows
    np.testing.assert_array_equal(scores(rows), scores(future))


def test_lists_leave_out_seen_dead_and_padding():
    item = np.eye(5, dtype=np.float32)
    state = np.array([[9, 5, 4, 3, 2], [9, 1, 2, 3, 4]], np.float32)
    allowed = np.array([False, True, True, True, False])
    lists = top_items(state, item, allowed, (np.array([0]), np.array([1])), 3)
    assert np.isfinite(lists.score_UK).tolist() == [[True, True, False], [True, True, True]]
    assert lists.item_UK[0, :2].tolist() == [2, 3]
    assert lists.item_UK[1].tolist() == [3, 2, 1]


def test_equal_scores_are_listed_in_the_order_of_the_items():
    item, state = np.ones((40, 1), np.float32), np.ones((3, 1), np.float32)
    allowed = np.arange(40) > 0
    lists = top_items(state, item, allowed, (np.array([1]), np.array([2])), 5)
    assert lists.item_UK.tolist() == [[1, 2, 3, 4, 5], [1, 3, 4, 5, 6], [1, 2, 3, 4, 5]]


def test_scores_that_are_no_numbers_are_refused():
    item, state = np.ones((4, 1), np.float32), np.full((1, 1), np.nan, np.float32)
    with pytest.raises(BadParams, match=r"diverged; lower hstu\.learning_rate"):
        top_items(state, item, np.ones(4, bool), None, 2)


def test_ndcg_equals_the_formula():
    lists = Lists(np.array([[3, 1, 2], [1, 2, 3], [1, 2, 3]]), np.ones((3, 3), np.float32))
    relevant = (np.array([0, 0, 1]), np.array([1, 2, 4]))
    expected = ((1 / np.log2(3) + 1 / np.log2(4)) / (1 + 1 / np.log2(3)) + 0.0) / 2
    assert ndcg(lists, relevant, 9) == pytest.approx(expected)
    nothing = np.empty(0, np.int64)
    assert ndcg(lists, (nothing, nothing), 9) == 0.0


def dataset(histories, tables, split):
    catalogue = read_catalogue(tables.items)
    return Dataset(split, catalogue, read_codes(tables.codes, catalogue.vocabulary), histories)


def test_the_question_holds_users_with_a_past_and_what_is_new_to_them(histories, tables, split):
    params = HstuParams(acquired=("click",))
    question = dataset(histories, tables, split).ask(TEST, params)
    for row, user in enumerate(question.user_Q):
        stretch = slice(histories.first_U1[user], histories.first_U1[user + 1])
        items, phases = histories.item_E[stretch], histories.phase_E[stretch]
        before, after = set(items[phases < TEST]), set(items[phases == TEST])
        assert before
        assert set(question.seen[1][question.seen[0] == row]) == before
        assert set(question.relevant[1][question.relevant[0] == row]) == after - before
    assert (question.windows.request_W == int(split.cut.timestamp())).all()


def test_leave_last_out_asks_at_the_time_of_the_held_out_event(rows, tables, split):
    last_out = replace(split, protocol="leave_last_out")
    table = ibis.memtable(pa.Table.from_pylist(rows))
    histories = read_histories(table, last_out, VOCABULARY, tied_sets=True)
    for period, back in ((VALIDATION, 2), (TEST, 1)):
        question = dataset(histories, tables, last_out).ask(period, HstuParams())
        expected = histories.second(histories.first_U1[question.user_Q + 1] - back)
        assert (question.windows.request_W == expected).all()


def test_an_item_that_dies_at_the_cut_is_no_candidate(tables, split):
    catalogue = read_catalogue(tables.items)
    assert catalogue.alive_V(split.cut).tolist() == [False, *[True] * 11, False]
    assert catalogue.alive_V(split.validation_from)[12]


def test_unborn_items_and_leave_last_out_widen_the_candidates(tables, split):
    is_late = tables.items.item_id == "i00"
    born = ibis.ifelse(is_late, ibis.literal(split.test_until), tables.items.valid_from)
    catalogue = read_catalogue(tables.items.mutate(valid_from=born))
    last_out = replace(split, protocol="leave_last_out")
    assert np.flatnonzero(~catalogue.candidates_V(split, split.cut, False)).tolist() == [0, 1, 12]
    assert np.flatnonzero(~catalogue.candidates_V(split, split.cut, True)).tolist() == [0, 12]
    assert np.flatnonzero(~catalogue.candidates_V(last_out, split.cut, False)).tolist() == [0]


def test_codes_lose_their_suffix_and_an_item_without_code_has_zero(tables):
    codes = read_codes(tables.codes.filter(tables.codes.item_id != "i03"), VOCABULARY)
    assert codes[[1, 4, 12]].tolist() == [[1, 1], [0, 0], [2, 3]]
    assert codes.shape == (13, 2)
