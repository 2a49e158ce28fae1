"""Use of a codebook on codes whose answer is known."""

import numpy as np
import pytest

from tessera.shared.codes.health import (
    capacity,
    collision_rate,
    expected_shared,
    gini,
    level_health,
)


def test_even_use_has_full_perplexity_and_no_inequality():
    found = level_health(np.repeat(np.arange(8), 5), 8)
    assert found["used"] == 8.0
    assert found["perplexity"] == pytest.approx(8.0)
    assert found["gini"] == pytest.approx(0.0)
    assert found["overlap"] == pytest.approx(4 / 39)


def test_one_crowded_codeword_has_perplexity_one():
    found = level_health(np.zeros(50, np.int64), 10)
    assert found["used"] == 1.0
    assert found["perplexity"] == pytest.approx(1.0)
    assert found["gini"] == pytest.approx(0.9)
    assert found["overlap"] == pytest.approx(1.0)


def test_gini_of_nothing_is_zero():
    assert gini(np.zeros(4)) == 0.0


def test_collisions_count_items_without_a_code_of_their_own():
    assert collision_rate(np.array([[1, 2], [1, 2], [1, 2], [3, 4]])) == pytest.approx(0.5)
    assert collision_rate(np.zeros((0, 2), np.int64)) == 0.0


def test_shared_prefixes_by_hand():
    codes = np.array([[1, 1], [1, 1], [1, 2]])
    assert expected_shared(codes) == pytest.approx((3 + 1) / 3)


def test_levels_that_repeat_each_other_add_no_capacity():
    """Five codewords a level could make 125 codes of independent levels; these make five."""
    code_N = np.arange(40) % 5
    assert capacity(np.column_stack([code_N] * 3)) == pytest.approx(5 / 40)


def test_the_codebook_that_tells_more_items_apart_has_more_capacity():
    """343 distinct codes for 400 items rank above 261, though these use each level more evenly."""

    def whole(distinct):
        return np.concatenate([np.arange(distinct), np.arange(400 - distinct)])

    def product_of_levels(code_NL):
        return np.prod([1 / level_health(code_N, 64)["overlap"] for code_N in code_NL.T])

    fine_NL = np.column_stack([whole(343) % 16, whole(343) // 16])
    coarse_NL = np.column_stack([whole(261) % 64, whole(261) % 61, whole(261) % 59])
    assert capacity(fine_NL) == pytest.approx(400 / (286 + 57 * 4))
    assert capacity(coarse_NL) == pytest.approx(400 / (122 + 139 * 4))
    assert product_of_levels(fine_NL) < product_of_levels(coarse_NL), "says the opposite"


def test_capacity_lies_between_one_code_for_all_and_one_for_each(rng):
    assert capacity(np.zeros((50, 3), np.int64)) == pytest.approx(1 / 50)
    assert capacity(np.arange(50)[:, None]) == 1.0
    code_NL = rng.integers(0, 3, (50, 3))
    assert 1 / 50 < capacity(code_NL) < 1.0
    assert capacity(rng.permutation(code_NL)) == pytest.approx(capacity(code_NL))
