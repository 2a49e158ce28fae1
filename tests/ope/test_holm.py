"""Holm against its closed form, and the shares of an endless stream."""

from itertools import combinations

import numpy as np
import pytest

from tessera.ope.holm import holm, share_of


def closed_testing(p_K, alpha):
    """Reject k where Bonferroni rejects every set that holds it: slow, and Holm by definition."""
    sets = [set_ for size in range(1, len(p_K) + 1) for set_ in combinations(range(len(p_K)), size)]
    kept = [set_ for set_ in sets if min(p_K[k] for k in set_) > alpha / len(set_)]
    return np.array([not any(k in set_ for set_ in kept) for k in range(len(p_K))])


def test_it_equals_the_closed_test(rng):
    rejected = 0
    for _ in range(200):
        p_K = rng.random(5) ** 4
        found_K = holm(p_K, 0.05)
        np.testing.assert_array_equal(found_K, closed_testing(p_K, 0.05))
        rejected += found_K.sum()
    assert 200 < rejected < 800


def test_one_false_rejection_is_as_rare_as_asked(rng):
    p_RK = rng.random((4000, 10))
    wrong = np.mean([holm(p_K, 0.05).any() for p_K in p_RK])
    assert wrong == pytest.approx(0.05, abs=0.011)
    assert np.mean((p_RK < 0.05).any(axis=1)) > 0.3


def test_an_endless_stream_spends_alpha_and_no_more():
    total = sum(share_of(0.05, k) for k in range(1, 20_000))
    assert 0.0499 < total < 0.05


def test_candidates_count_from_one():
    with pytest.raises(ValueError, match="count from 1"):
        share_of(0.05, 0)
