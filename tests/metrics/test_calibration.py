import numpy as np
import pytest

from tessera.metrics.calibration import brier, expected_calibration_error


def test_brier_of_a_perfect_and_of_a_coin():
    outcome = np.array([1.0, 0.0])
    assert brier(outcome, outcome) == 0.0
    assert brier(np.array([0.5, 0.5]), outcome) == 0.25


def test_calibration_error_weighs_bins_by_size():
    probability = np.array([0.1, 0.1, 0.1, 0.9])
    outcome = np.array([0.0, 0.0, 1.0, 1.0])
    expected = 0.75 * abs(0.1 - 1 / 3) + 0.25 * abs(0.9 - 1.0)
    assert expected_calibration_error(probability, outcome) == pytest.approx(expected)


def test_probability_one_falls_into_the_last_bin():
    assert expected_calibration_error(np.array([1.0]), np.array([1.0])) == 0.0


def test_honest_probabilities_are_calibrated(rng):
    probability = rng.random(50_000)
    outcome = (rng.random(50_000) < probability).astype(float)
    assert expected_calibration_error(probability, outcome) < 0.02
    assert expected_calibration_error(probability**2, outcome) > 0.1
