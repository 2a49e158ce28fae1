"""Which choices a validation period cannot tell from the best."""

import numpy as np
import pytest

from tessera.shared.metrics.choice import as_good_as_best


@pytest.mark.parametrize(("gap", "good"), [(0.19, True), (0.21, False)])
def test_one_standard_error_of_the_paired_gap_is_as_good(gap, good):
    """The gaps vary by 2 over a hundred people, so that their standard error is .2."""
    best_U = np.linspace(0.0, 50.0, 100)  # what all share says nothing
    other_U = best_U - gap + 2.0 * np.tile([1.0, -1.0], 50)
    assert as_good_as_best([np.stack([other_U, best_U])]).tolist() == [good, True]


def test_several_periods_make_surer():
    rng = np.random.default_rng(3)
    periods = []
    for _ in range(9):
        noise_U = rng.permutation(np.tile([1.0, -1.0], 50))
        periods.append(np.stack([-0.15 + 2.0 * noise_U, np.zeros(100)]))
    assert as_good_as_best(periods[:1]).tolist() == [True, True]
    assert as_good_as_best(periods).tolist() == [False, True]
