"""Estimates shrunk where most of them are noise."""

import numpy as np
import pytest

from tessera.causal.shrinkage import excess, shrink


@pytest.fixture
def sparse_effects(rng):
    """One pair in twenty has an effect; half of all pairs are measured badly."""
    truth = np.where(rng.random(4000) < 0.05, rng.normal(0, 0.2, 4000), 0.0)
    stderr = np.where(np.arange(4000) % 2 == 0, 0.02, 0.1)
    return truth, truth + stderr * rng.standard_normal(4000), stderr


def test_shrinkage_pulls_the_uncertain_more_and_keeps_signs(sparse_effects):
    truth, seen, stderr = sparse_effects
    effect, after = shrink(seen, stderr)
    kept = np.abs(effect) / np.abs(seen)
    large = np.abs(seen) > 0.15
    assert kept[large & (stderr < 0.05)].min() > 0.9
    assert kept[~large].mean() < 0.2
    assert np.median(kept[large & (stderr > 0.05)]) < np.median(kept[large & (stderr < 0.05)])
    assert np.all(np.sign(effect) == np.sign(seen))
    assert np.mean((effect - truth) ** 2) < 0.25 * np.mean((seen - truth) ** 2)
    assert np.all(after < 3 * stderr)


def test_a_few_large_effects_are_not_paid_for_by_the_many_that_are_none(sparse_effects):
    """One normal prior for all would do worse, whatever its spread."""
    truth, seen, stderr = sparse_effects
    loss = np.mean((shrink(seen, stderr)[0] - truth) ** 2)
    for spread in np.geomspace(0.001, 1, 40):
        single = seen * spread**2 / (spread**2 + stderr**2)
        assert loss < 0.8 * np.mean((single - truth) ** 2)


def test_posterior_intervals_hold_the_truth(sparse_effects):
    truth, seen, stderr = sparse_effects
    effect, after = shrink(seen, stderr)
    assert np.mean(np.abs(effect - truth) <= 1.96 * after) > 0.93


def test_pure_noise_is_shrunk_to_nothing(rng):
    effect, _ = shrink(rng.normal(0, 0.99, 5000) * 0.1, np.full(5000, 0.1))
    assert np.abs(effect).max() < 0.02


def test_noise_wider_than_claimed_is_noise_all_the_same(rng):
    seen = 0.2 * rng.standard_normal(5000)
    effect, _ = shrink(seen, np.full(5000, 0.1))
    assert excess(seen / 0.1) == pytest.approx(2.0, rel=0.1)
    assert np.abs(effect).max() < 0.05
    assert excess(0.1 * seen) == 1.0  # never narrower


def test_a_pair_nobody_can_be_compared_on_gets_no_effect():
    effect, stderr = shrink(np.array([0.0, 0.3]), np.array([np.inf, 0.1]))
    assert effect[0] == 0.0
    assert np.isfinite(stderr).all()
    effect, stderr = shrink(np.zeros(2), np.full(2, np.inf))
    assert effect.tolist() == stderr.tolist() == [0.0, 0.0]
