import numpy as np
import pytest

from tessera.shared.metrics.bootstrap import mean_interval, resampled_means


def test_interval_covers_the_truth_about_as_often_as_it_says(rng):
    covered = 0
    for _ in range(200):
        found = mean_interval(rng.exponential(1.0, 100), rng, draws=200, level=0.9)
        covered += found.low <= 1.0 <= found.high
    assert 0.82 <= covered / 200 <= 0.96


def test_columns_are_drawn_together_so_a_constant_lead_has_no_spread(rng):
    first = rng.normal(size=300)
    drawn = resampled_means(np.column_stack([first, first + 0.25]), 50, rng)
    np.testing.assert_allclose(drawn[:, 1] - drawn[:, 0], 0.25)
    assert drawn[:, 0].std() == pytest.approx(1 / np.sqrt(300), rel=0.4)


def test_same_seed_same_interval(rng):
    values = rng.normal(size=50)
    twice = [mean_interval(values, np.random.default_rng(3), draws=30) for _ in range(2)]
    assert twice[0] == twice[1]
