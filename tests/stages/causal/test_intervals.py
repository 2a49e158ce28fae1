"""Intervals that hold where nothing is, whatever confounds all pairs."""

import numpy as np
import pytest

from tessera.stages.causal.intervals import empirical_null, intervals


def test_bias_and_spread_that_all_pairs_share_are_taken_out(rng):
    z = 0.4 + 1.3 * rng.standard_normal(20_000)
    z[:200] += 6.0  # true effects do not move the middle half
    centre, spread = empirical_null(z)
    assert centre == pytest.approx(0.4, abs=0.03)
    assert spread == pytest.approx(1.3, rel=0.03)
    low, high = intervals(0.01 * z, np.full(20_000, 0.01))
    assert np.mean((low <= 0) & (high >= 0)) >= 0.93
    assert np.mean(np.abs(z[200:]) < 1.96) < 0.88  # as estimated they do not hold


def test_intervals_are_never_narrower_than_chance_and_bound_the_unknown(rng):
    z = 0.5 * rng.standard_normal(1000)
    assert empirical_null(z)[1] == 1.0
    low, high = intervals(np.r_[0.01 * z, 0.0], np.r_[np.full(1000, 0.01), np.inf])
    assert (low[-1], high[-1]) == (-1.0, 1.0)
    assert high[0] - low[0] == pytest.approx(2 * 1.96 * 0.01)
    nothing = intervals(np.zeros(1), np.full(1, np.inf))
    assert [side.tolist() for side in nothing] == [[-1.0], [1.0]]
