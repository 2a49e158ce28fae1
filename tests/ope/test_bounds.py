"""Intervals against formulas worked out by hand, and the promise they make."""

import math

import numpy as np
import pytest
from scipy.stats import bootstrap

from tessera.ope.bounds import (
    bca,
    clustered_normal,
    empirical_bernstein,
    normal,
    redraw,
    skew_corrected,
)
from tessera.ope.sequences import betting_interval


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


def test_empirical_bernstein_equals_its_formula(rng):
    value_N, low, high = rng.uniform(-1, 3, 30), -1.0, 4.0
    mean = sum(value_N) / 30
    spread = sum((v - mean) ** 2 for v in value_N) / 29
    reach = math.sqrt(2 * spread * math.log(40) / 30) + 7 * 5 * math.log(40) / (3 * 29)
    found = empirical_bernstein(value_N, low, high, 0.05)
    assert (found.lower, found.upper) == pytest.approx((mean - reach, mean + reach), abs=1e-12)


@pytest.mark.parametrize(("low", "high"), [(0.1, 2.0), (0.0, 0.9)])
def test_empirical_bernstein_refuses_values_outside_its_range(low, high):
    with pytest.raises(ValueError, match="leave the range"):
        empirical_bernstein(np.array([0.0, 1.0]), low, high, 0.05)


def test_bca_equals_that_of_scipy_on_skewed_values(rng):
    value_N = rng.lognormal(0, 1.5, 80)
    theirs = bootstrap((value_N,), np.mean, confidence_level=0.9, n_resamples=30_000, rng=rng)
    ours = bca(value_N, np.arange(80), redraw(80, rng, 30_000), 0.05)
    tolerance = 0.04 * ours.stderr
    assert ours.lower == pytest.approx(theirs.confidence_interval.low, abs=tolerance)
    assert ours.upper == pytest.approx(theirs.confidence_interval.high, abs=2 * tolerance)
    percentile = np.quantile(theirs.bootstrap_distribution, 0.95)
    assert ours.upper > percentile + 4 * tolerance


def test_bca_of_clusters_equals_that_of_scipy(rng):
    cluster_N = np.sort(rng.integers(0, 60, 300))
    value_N = rng.exponential(size=60)[cluster_N] + rng.normal(size=300)
    cluster_N = np.unique(cluster_N, return_inverse=True)[1]
    sums, sizes = np.bincount(cluster_N, value_N), np.bincount(cluster_N)

    def ratio(sums, sizes, axis):
        return sums.sum(axis) / sizes.sum(axis)

    theirs = bootstrap(
        (sums, sizes), ratio, paired=True, confidence_level=0.9, n_resamples=30_000, rng=rng
    ).confidence_interval
    ours = bca(value_N, cluster_N, redraw(len(sums), rng, 30_000), 0.05)
    assert (ours.lower, ours.upper) == pytest.approx(
        (theirs.low, theirs.high), abs=0.06 * ours.stderr
    )


def test_bca_of_equal_values_is_a_point(rng):
    found = bca(np.ones(20), np.arange(20), redraw(20, rng, 99), 0.05)
    assert (found.lower, found.mean, found.upper) == (1.0, 1.0, 1.0)


def test_a_redraw_takes_as_many_clusters_as_there_are(rng):
    times_BG = redraw(40, rng, 2000)
    assert (times_BG.sum(axis=1, dtype=int) == 40).all()
    np.testing.assert_allclose(times_BG.mean(axis=0), 1.0, atol=0.12)


def rare(rng, rate):
    """A week of rewards that hardly ever come, weighed by 0 to 4."""
    weight_N = rng.choice([0.25, 4.0], 800, p=[0.8, 0.2])
    reward_N = (rng.random(800) < rate).astype(float)
    return weight_N, reward_N


def test_bounds_above_rare_rewards_hold_where_the_normal_one_does_not(rng):
    rate, covered = 0.02, dict.fromkeys(("normal", "skewed", "bernstein", "bca", "sequence"), 0)
    times_BG = redraw(800, rng, 400)
    for _ in range(400):
        weight_N, reward_N = rare(rng, rate)
        value_N, rest_N = weight_N * reward_N, weight_N * (1 - reward_N)
        found = {
            "normal": normal(value_N, 0.05),
            "skewed": skew_corrected(value_N, np.arange(800), 0.05),
            "bernstein": empirical_bernstein(value_N, 0.0, 4.0, 0.05),
            "bca": bca(value_N, np.arange(800), times_BG, 0.05),
            "sequence": betting_interval(value_N, rest_N, 1.0, 0.05),
        }
        for name, interval in found.items():
            covered[name] += interval.upper >= rate
    assert covered["normal"] < 0.9 * 400
    assert min(covered["skewed"], covered["bca"]) >= 0.93 * 400
    assert min(covered["bernstein"], covered["sequence"]) >= 0.95 * 400
