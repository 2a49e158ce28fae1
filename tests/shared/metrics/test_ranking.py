import numpy as np
import pytest

from tessera.shared.metrics.ranking import hit_rate, hits, ndcg, recall, reciprocal_rank, top_items

# Two relevant items; the list finds the first at position 2 and the second at position 4.
FOUND = np.array([[False, True, False, True, False]])
TWO = np.array([2])


def test_metrics_of_a_list_match_hand_computation():
    ideal = 1 + 1 / np.log2(3)
    assert ndcg(FOUND, TWO, 5)[0] == pytest.approx((1 / np.log2(3) + 1 / np.log2(5)) / ideal)
    assert ndcg(FOUND, TWO, 3)[0] == pytest.approx((1 / np.log2(3)) / ideal)
    assert reciprocal_rank(FOUND, 5)[0] == 0.5
    assert reciprocal_rank(FOUND, 1)[0] == 0.0
    assert recall(FOUND, TWO, 3)[0] == 0.5
    assert hit_rate(FOUND, 1)[0] == 0.0
    assert hit_rate(FOUND, 2)[0] == 1.0


def test_ideal_list_is_no_longer_than_k():
    all_hit = np.ones((1, 2), dtype=bool)
    assert ndcg(all_hit, np.array([7]), 2)[0] == pytest.approx(1.0)
    assert recall(all_hit, np.array([7]), 2)[0] == pytest.approx(2 / 7)


def test_short_lists_are_measured_at_a_greater_depth():
    short = np.array([[False, True]])
    assert ndcg(short, np.array([1]), 10)[0] == pytest.approx(1 / np.log2(3))


def test_nothing_relevant_counts_zero():
    nothing, none = np.zeros((1, 3), dtype=bool), np.array([0])
    assert ndcg(nothing, none, 3)[0] == recall(nothing, none, 3)[0] == 0.0


def test_an_empty_place_is_never_a_hit():
    top = np.array([[-1, 3], [-1, -1]])
    # Without care -1 of the second list reads as the last item of the first.
    found = hits(top, np.array([0, 0]), np.array([3, 2]))
    assert found.tolist() == [[False, True], [False, False]]


def test_a_hit_belongs_to_its_own_investor():
    found = hits(np.array([[1], [1]]), np.array([1]), np.array([1]))
    assert found.tolist() == [[False], [True]]


def test_top_items_agree_with_a_full_stable_sort_under_heavy_ties(rng):
    scores = rng.integers(0, 4, (50, 30)).astype(float)
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :12]
    expected[np.isneginf(np.take_along_axis(scores, expected, axis=1))] = -1
    np.testing.assert_array_equal(top_items(scores, 12), expected)


def test_lists_longer_than_the_catalogue_are_padded():
    assert top_items(np.array([[1.0, 2.0]]), 4).tolist() == [[1, 0, -1, -1]]
