"""Intervals and tests of the benchmarks, by formulas and other libraries, and their promise."""

import math
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import bootstrap

from benchmarks.intervals import bca, betting_interval, empirical_bernstein, holm, redraw
from tessera.offpolicy.bounds import normal, skew_corrected


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


def test_the_upper_bound_of_a_value_is_the_lower_bound_of_the_rest_turned_round(rng):
    weight_N = rng.choice([0.25, 4.0], 800, p=[0.8, 0.2])
    reward_N = (rng.random(800) < 0.3).astype(float)
    value_N, rest_N = weight_N * reward_N, weight_N * (1 - reward_N)
    found = betting_interval(value_N, rest_N, 1.0, 0.05)
    turned = betting_interval(rest_N, value_N, 1.0, 0.05)
    assert found.lower < 0.3 < found.upper
    assert (found.lower, found.upper) == pytest.approx((1 - turned.upper, 1 - turned.lower))


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
