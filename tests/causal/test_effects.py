"""Estimates on counts small enough to do by hand."""

import numpy as np
import pytest
from scipy import sparse

from tessera.causal.effects import Pairs, Sums, add_trial, estimate, shrink, supported_pairs
from tessera.causal.panel import Trial


def trial(held, gained, stratum=None, prognosis=None):
    n = len(held)
    return Trial(
        sparse.csr_array(np.array(held, float)),
        sparse.csr_array(np.array(gained, float)),
        np.zeros(n, np.int64) if stratum is None else np.array(stratum),
        np.ones(n) if prognosis is None else np.array(prognosis, float),
    )


def summed(trials, cause=0, effect=1):
    pairs = Pairs(np.array([cause]), np.array([effect]), np.array([1]))
    sums = Sums(*(np.zeros(1) for _ in range(3)))
    for one in trials:
        add_trial(sums, one, pairs)
    return sums


def block(n, held_i, gained_j):
    """n investors of whom so many hold item 0 and so many (the first ones) acquire item 1."""
    held = [[float(held_i), 0.0] for _ in range(n)]
    gained = [[0.0, float(k < gained_j)] for k in range(n)]
    return held, gained


def test_one_stratum_gives_the_plain_difference_in_probability():
    held_1, gained_1 = block(10, 1, 6)
    held_0, gained_0 = block(20, 0, 4)
    effect, _ = estimate(summed([trial(held_1 + held_0, gained_1 + gained_0)]))
    assert effect[0] == pytest.approx(6 / 10 - 4 / 20)


def test_a_stratum_that_drives_both_items_does_not_look_like_an_effect():
    busy = (*block(30, 1, 15), *block(10, 0, 5))
    quiet = (*block(10, 1, 1), *block(30, 0, 3))
    held = busy[0] + busy[2] + quiet[0] + quiet[2]
    gained = busy[1] + busy[3] + quiet[1] + quiet[3]
    mixed, _ = estimate(summed([trial(held, gained)]))
    adjusted, _ = estimate(summed([trial(held, gained, stratum=[0] * 40 + [1] * 40)]))
    assert mixed[0] == pytest.approx(16 / 40 - 8 / 40)
    assert adjusted[0] == pytest.approx(0.0, abs=1e-12)


def test_a_prognosis_that_drives_both_items_does_not_look_like_an_effect():
    held_1, gained_1 = block(10, 1, 6)
    held_0, gained_0 = block(20, 0, 4)
    prognosis = [3.0] * 10 + [1.0] * 20
    one = trial(held_1 + held_0, gained_1 + gained_0, prognosis=prognosis)
    effect, _ = estimate(summed([one]))
    assert effect[0] == pytest.approx(0.0, abs=1e-12)


def test_who_holds_the_effect_already_is_no_longer_compared():
    held_1, gained_1 = block(10, 1, 6)
    held_0, gained_0 = block(20, 0, 4)
    held_both, gained_none = [[1.0, 1.0]] * 50, [[0.0, 0.0]] * 50
    one = trial(held_1 + held_0 + held_both, gained_1 + gained_0 + gained_none)
    assert estimate(summed([one]))[0][0] == pytest.approx(0.4)


def test_investors_outside_observation_count_nowhere():
    held_1, gained_1 = block(10, 1, 6)
    held_0, gained_0 = block(20, 0, 4)
    held_x, gained_x = block(40, 0, 40)
    one = trial(held_1 + held_0 + held_x, gained_1 + gained_0 + gained_x, [0] * 30 + [-1] * 40)
    assert estimate(summed([one]))[0][0] == pytest.approx(0.4)


def test_the_standard_error_matches_the_spread_over_repeated_worlds(rng):
    errors, claimed = [], []
    for _ in range(300):
        held = np.zeros((400, 2))
        held[:100, 0] = 1
        gained = np.zeros((400, 2))
        gained[:, 1] = rng.random(400) < np.where(np.arange(400) < 100, 0.12, 0.05)
        effect, stderr = estimate(summed([trial(held, gained)]))
        errors.append(effect[0] - 0.07)
        claimed.append(stderr[0])
    assert np.mean(errors) == pytest.approx(0.0, abs=0.006)
    assert np.std(errors) == pytest.approx(np.mean(claimed), rel=0.15)


def test_support_counts_investors_in_order_and_the_limit_keeps_the_largest():
    first = trial([[1, 0, 0], [1, 0, 0]], [[0, 1, 0], [0, 1, 0]])
    second = trial([[1, 1, 0], [1, 1, 0]], [[0, 0, 1], [0, 0, 0]])
    pairs = supported_pairs([first, second], 1, 10)
    found = list(zip(pairs.cause_N, pairs.effect_N, pairs.support_N, strict=True))
    assert found == [(0, 1, 2), (0, 2, 1), (1, 2, 1)]
    assert supported_pairs([first, second], 1, 1).support_N.tolist() == [2]
    assert len(supported_pairs([first, second], 2, 10).cause_N) == 1


def test_shrinkage_pulls_the_uncertain_more_and_keeps_signs(rng):
    truth = rng.normal(0, 0.1, 2000)
    stderr = np.where(np.arange(2000) < 1000, 0.02, 0.3)
    seen = truth + stderr * rng.standard_normal(2000)
    effect, after = shrink(seen, stderr)
    kept = np.abs(effect) / np.abs(seen)
    assert kept[:1000].min() > 0.9
    assert kept[1000:].max() < 0.3
    assert np.all(np.sign(effect) == np.sign(seen))
    assert np.mean((effect - truth) ** 2) < 0.5 * np.mean((seen - truth) ** 2)
    assert np.all(after < stderr)


def test_pure_noise_is_shrunk_to_nothing(rng):
    effect, _ = shrink(rng.normal(0, 0.99, 5000) * 0.1, np.full(5000, 0.1))
    assert np.abs(effect).max() < 0.02


def test_a_pair_nobody_can_be_compared_on_gets_no_effect():
    held, gained = block(10, 1, 5)  # everybody holds the cause
    effect, stderr = shrink(*estimate(summed([trial(held, gained)])))
    assert effect[0] == 0.0
    assert np.isfinite(stderr[0])
