import numpy as np
import pytest

from tessera.shared.metrics.diversity import coverage, gini, novelty, times_shown


def test_coverage_and_gini_of_a_known_list():
    shown = times_shown(np.array([[0, 1], [0, -1]]), 4)
    assert shown.tolist() == [2, 1, 0, 0]
    assert coverage(shown) == 0.5
    # Mean absolute difference over twice the mean: 1 + 2 + 2 + 1 + 1 + 0, both ways, of 16 pairs.
    assert gini(shown) == pytest.approx(14 / 16 / (2 * 0.75))


def test_gini_does_not_depend_on_order_or_scale(rng):
    shown = rng.integers(0, 50, 40)
    assert gini(shown) == pytest.approx(gini(rng.permutation(shown) * 3))


def test_nobody_is_shown_anything():
    nothing = np.full((3, 2), -1)
    assert gini(times_shown(nothing, 5)) == novelty(nothing, np.ones(5), 9) == 0.0


def test_rare_items_are_more_novel():
    holders = np.array([99, 0])
    common, rare = (novelty(np.array([[item]]), holders, 99) for item in (0, 1))
    assert common == 0.0
    assert rare == pytest.approx(np.log2(100))
