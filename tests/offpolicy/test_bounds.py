"""Intervals against formulas worked out by hand."""

import numpy as np
import pytest

from tessera.offpolicy.bounds import clustered_normal, normal, skew_corrected


def test_clusters_of_one_give_the_textbook_standard_error(rng):
    value_N = rng.normal(size=400)
    found = clustered_normal(value_N, np.arange(400), 0.05)
    assert found.stderr == pytest.approx(value_N.std(ddof=1) / 20)
    assert found.lower == pytest.approx(found.mean - 1.6449 * found.stderr, abs=1e-4)


def test_repeating_every_unit_does_not_make_anybody_surer(rng):
    value_N = rng.normal(size=400)
    once = clustered_normal(value_N, np.arange(400), 0.05)
    twice = clustered_normal(np.tile(value_N, 2), np.tile(np.arange(400), 2), 0.05)
    assert twice.stderr == pytest.approx(once.stderr)


@pytest.mark.parametrize("sign", [1, -1])
def test_skew_corrected_bounds_are_where_the_transformed_mean_is_normal(rng, sign):
    """Hall's transformation of (mean - bound) / stderr is the normal quantile again."""
    value_N, cluster_N = sign * rng.exponential(size=300) ** 2, np.repeat(np.arange(100), 3)
    found = skew_corrected(value_N, cluster_N, 0.05)
    sum_G = np.bincount(cluster_N, value_N - value_N.mean())
    skewness = (sum_G**3).sum() / (sum_G**2).sum() ** 1.5
    assert abs(skewness) > 0.1
    for bound, z in ((found.lower, 1.6449), (found.upper, -1.6449)):
        t = (found.mean - bound) / found.stderr
        turned = t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / 6
        assert turned == pytest.approx(z, abs=1e-4)


def test_without_skewness_the_corrected_bounds_are_the_normal_ones(rng):
    half_N = rng.normal(size=200)
    value_N, unit_N = np.concatenate([half_N, -half_N]), np.arange(400)
    wanted = clustered_normal(value_N, unit_N, 0.05)
    found = skew_corrected(value_N, unit_N, 0.05)
    assert (found.lower, found.upper) == pytest.approx((wanted.lower, wanted.upper), abs=1e-9)
    same = skew_corrected(np.full(5, 0.3), np.arange(5), 0.05)
    assert (same.mean, same.stderr, same.lower, same.upper) == pytest.approx((0.3, 0, 0.3, 0.3))


def test_units_of_their_own_are_clusters_of_one(rng):
    value_N = rng.normal(size=50)
    assert normal(value_N, 0.1) == clustered_normal(value_N, np.arange(50), 0.1)
