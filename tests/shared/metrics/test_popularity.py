import numpy as np
import pytest

from tessera.shared.metrics.popularity import average_popularity, long_tail, top_share

HOLDERS = np.array([5, 40, 5, 0])


def test_average_popularity_is_the_mean_share_of_holders():
    assert average_popularity(np.array([[1, 0], [3, -1]]), HOLDERS, 50) == pytest.approx(45 / 150)


def test_top_share_counts_places_of_the_most_popular():
    lists = np.array([[1, 0], [2, -1]])
    assert top_share(lists, HOLDERS) == pytest.approx(1 / 3)
    assert top_share(lists, HOLDERS, percent=50) == pytest.approx(2 / 3)


def test_empty_lists_lean_on_nothing():
    nothing = np.array([[-1]])
    assert average_popularity(nothing, HOLDERS, 50) == top_share(nothing, HOLDERS) == 0.0


def test_long_tail_is_what_the_smallest_head_leaves():
    assert long_tail(HOLDERS, head_share=0.8).tolist() == [True, False, True, True]
    assert long_tail(HOLDERS, head_share=0.85).tolist() == [False, False, True, True]
