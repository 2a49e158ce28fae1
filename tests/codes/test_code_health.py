"""Use of a codebook on codes whose answer is known."""

import numpy as np
import pytest

from tessera.codes.health import collision_rate, expected_shared, gini, level_health


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
