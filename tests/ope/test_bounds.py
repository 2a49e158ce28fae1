"""Intervals against formulas worked out by hand, and the promise they make."""

import math

import numpy as np
import pytest

from tessera.ope.bounds import clustered_normal, confidence_sequence


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


def test_the_sequence_equals_its_formula_step_by_step(rng):
    excess_N, floor, alpha = rng.exponential(size=60) - 0.8, 2.0, 0.05
    sum_x, sum_square, sum_bet, sum_gain, best = 1.0, 0.25, 0.0, 0.0, -floor
    found_N = confidence_sequence(excess_N, floor, alpha)
    for i, excess in enumerate(excess_N, start=1):
        x = (excess + floor) / floor
        mean, spread = min(sum_x / i, 1.0), sum_square / i
        bet = min(math.sqrt(2 * math.log(1 / alpha) / (spread * i * math.log(1 + i))), 0.5)
        sum_bet += bet
        sum_gain += bet * x - (x - mean) ** 2 * (-math.log(1 - bet) - bet)
        sum_x, sum_square = sum_x + x, sum_square + (x - mean) ** 2
        best = max(best, floor * ((sum_gain - math.log(1 / alpha)) / sum_bet - 1))
        assert found_N[i - 1] == pytest.approx(best, abs=1e-12)


def test_the_sequence_refuses_values_below_its_floor():
    with pytest.raises(ValueError, match="lies below"):
        confidence_sequence(np.array([0.0, -1.5]), 1.0, 0.05)


def test_the_sequence_finds_a_clear_lift(rng):
    excess_N = rng.normal(0.1, 0.3, 20_000).clip(-1)
    lower_N = confidence_sequence(excess_N, 1.0, 0.05)
    assert 0.08 < lower_N[-1] < 0.1
