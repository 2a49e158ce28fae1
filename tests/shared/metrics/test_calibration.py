import numpy as np
import pytest

from tessera.shared.metrics.calibration import (
    brier,
    equal_mass_calibration_error,
    expected_calibration_error,
)


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


def test_bins_of_equal_mass_see_what_a_wide_bin_evens_out():
    probability = np.repeat([0.02, 0.08], 500)
    outcome = np.repeat([1.0, 0.0, 1.0, 0.0], [40, 460, 10, 490])  # 8 % of the first, 2 % of others
    assert expected_calibration_error(probability, outcome) == pytest.approx(0.0)
    assert equal_mass_calibration_error(probability, outcome) == pytest.approx(0.06)


def test_equal_probabilities_share_a_bin():
    probability, outcome = np.full(30, 0.5), np.tile([0.0, 1.0], 15)
    assert equal_mass_calibration_error(probability, outcome) == pytest.approx(0.0)
    assert equal_mass_calibration_error(probability, np.sort(outcome)) == pytest.approx(0.0)
