from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy.sparse import csr_matrix

from tessera.stages.evaluate.baselines import BASELINES, fit, sensible
from tessera.stages.evaluate.holdout import Holdout, build_holdout
from tessera.stages.evaluate.params import EvaluateParams
from tessera.stages.evaluate.report import per_user, rank_all

PARAMS = EvaluateParams(
    knn_shrink=0.0, ease_l2=2.0, als_factors=4, als_l2=1.0, als_weight=5.0, recent_days=20
)


def holdout_of(acquired):
    """Everybody is tested; nothing is relevant."""
    acquired = csr_matrix(np.asarray(acquired, dtype=float))
    users, items = acquired.shape
    none = np.empty(0, dtype=np.int64)
    return Holdout(
        item_ids=pa.array([f"i{k}" for k in range(items)]),
        user_ids=pa.array([f"u{k}" for k in range(users)]),
        acquired_UI=acquired,
        row_N=np.arange(users),
        recent_I=np.arange(items),
        held_NI=acquired,
        relevant_user_R=none,
        relevant_item_R=none,
        candidate_I=np.ones(items, dtype=bool),
        cold_I=np.zeros(items, dtype=bool),
        future_I=np.zeros(items, dtype=bool),
        known_events_N=np.ones(users, dtype=np.int64),
    )


@pytest.fixture
def small(rng):
    return holdout_of(rng.random((40, 12)) < 0.3)


@pytest.fixture(scope="module")
def tastes(two_tastes, tmp_path_factory):
    opened = two_tastes.open(tmp_path_factory.mktemp("tastes"))
    return build_holdout(opened["events"], opened["items"], two_tastes.split, PARAMS)


def everyone(holdout):
    return np.arange(len(holdout.user_ids))


def lists_of(name, holdout):
    return rank_all(fit(name, holdout, PARAMS), holdout, None).top_NK.tolist()


def relevant_pairs(holdout):
    return set(zip(holdout.relevant_user_R, holdout.relevant_item_R, strict=True))


def ndcg(name, holdout):
    lists = rank_all(fit(name, holdout, PARAMS), holdout, None)
    return per_user(lists.top_NK, holdout, (10,))["ndcg_10"].mean()


def test_popularity_counts_investors(small):
    score = fit("popularity", small, PARAMS)(np.array([0, 1]))
    np.testing.assert_array_equal(score[1], small.acquired_UI.toarray().sum(axis=0))
    np.testing.assert_array_equal(
        fit("recent_popularity", small, PARAMS)(np.array([3]))[0], small.recent_I
    )


def test_item_knn_sums_cosines_of_the_items_acquired():
    holdout = holdout_of([[1, 1, 0], [1, 1, 1], [0, 0, 1], [1, 0, 0]])
    score = fit("item_knn", holdout, PARAMS)(np.array([3]))[0]
    # Item 0 has 3 holders, shares 2 with item 1 (2 holders) and 1 with item 2 (2 holders).
    np.testing.assert_allclose(score, [0, 2 / np.sqrt(6), 1 / np.sqrt(6)], atol=1e-8)
    shrunk = fit("item_knn", holdout, PARAMS.model_copy(update={"knn_shrink": 3.0}))
    np.testing.assert_allclose(
        shrunk(np.array([3]))[0], [0, 2 / (np.sqrt(6) + 3), 1 / (np.sqrt(6) + 3)], atol=1e-8
    )


def test_item_knn_keeps_only_the_nearest():
    holdout = holdout_of([[1, 1, 0], [1, 1, 1], [0, 0, 1], [1, 0, 0]])
    one = PARAMS.model_copy(update={"knn_neighbours": 1})
    score = fit("item_knn", holdout, one)(everyone(holdout))
    # Each item is scored by its nearest neighbour alone: 2 by item 1, not by item 0.
    assert score[3, 2] == 0.0
    assert score[0, 2] == pytest.approx(1 / 2)


def test_ease_equals_ridge_regression_of_each_item_on_the_others(small):
    history = small.acquired_UI.toarray()
    score = fit("ease", small, PARAMS)(everyone(small))
    for item in range(history.shape[1]):
        others = np.delete(history, item, axis=1)
        gram = others.T @ others + PARAMS.ease_l2 * np.eye(others.shape[1])
        weight = np.linalg.solve(gram, others.T @ history[:, item])
        np.testing.assert_allclose(score[:, item], others @ weight, atol=1e-8)


def test_ease_leaves_items_beyond_its_head_at_zero(small):
    head = PARAMS.model_copy(update={"ease_items": 10})
    score = fit("ease", small, head)(everyone(small))
    assert score.shape == (40, 12)
    assert not score[:, 10:].any()
    assert score[:, :10].any()


def test_random_does_not_depend_on_the_chunk(small):
    score = fit("random", small, PARAMS)
    np.testing.assert_array_equal(score(np.array([4, 7]))[1], score(np.array([7]))[0])
    assert len(np.unique(score(everyone(small)))) == 40 * 12


def test_an_order_has_no_recent_days(two_tastes):
    assert sensible(BASELINES, two_tastes.split) == list(BASELINES)


@pytest.mark.parametrize("name", ["item_knn", "ease", "als"])
def test_a_personal_baseline_learns_the_two_tastes(name, tastes):
    assert ndcg(name, tastes) > 1.3 * ndcg("popularity", tastes)


def test_popularity_beats_chance(tastes):
    assert ndcg("popularity", tastes) > 1.15 * ndcg("random", tastes)


def test_lists_do_not_see_past_the_cut(two_tastes, tastes, tmp_path, rng):
    cut = np.datetime64(two_tastes.split.cut.replace(tzinfo=None))
    items = np.array(two_tastes.events["item_id"].to_pylist())
    later = two_tastes.events["event_ts"].to_numpy() > cut
    items[later] = rng.permutation(items[later])
    events = two_tastes.events.set_column(2, "item_id", [items.tolist()])
    opened = replace(two_tastes, events=events).open(tmp_path)
    other = build_holdout(opened["events"], opened["items"], two_tastes.split, PARAMS)
    assert relevant_pairs(other) != relevant_pairs(tastes)
    for name in BASELINES:
        one, two = (
            dict(zip(holdout.user_ids.to_pylist(), lists_of(name, holdout), strict=True))
            for holdout in (tastes, other)
        )
        for user in one.keys() & two.keys():
            # The random baseline draws by place in the test, all others by history alone.
            assert name == "random" or one[user] == two[user]


@pytest.mark.parametrize("name", list(BASELINES))
def test_twice_fitted_gives_equal_lists_without_what_is_held(name, tastes):
    first, second = (rank_all(fit(name, tastes, PARAMS), tastes, None) for _ in range(2))
    np.testing.assert_array_equal(first.top_NK, second.top_NK)
    held = tastes.held_NI.toarray() > 0
    listed = first.top_NK >= 0
    rows = np.nonzero(listed)[0]
    assert not held[rows, first.top_NK[listed]].any()
