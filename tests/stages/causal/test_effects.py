"""Both directions of a pair, where one of them says nothing."""

import numpy as np
from scipy import sparse

from tessera.stages.causal.confounders import Rows
from tessera.stages.causal.effects import effects
from tessera.stages.causal.pairs import Pairs


def test_a_cause_that_nobody_acquires_later_still_has_an_effect(rng):
    """Its reverse is unknown: neither an error nor a reason to be silent."""
    n = 4000
    held = np.column_stack([rng.random(n) < 0.5, np.zeros((n, 2))]).astype(float)
    chance = np.column_stack([np.zeros(n), 0.1 + 0.4 * held[:, 0], np.full(n, 0.1)])
    gained = (rng.random((n, 3)) < chance).astype(float)
    rows = Rows(
        sparse.csr_array(held), sparse.csr_array(gained),
        np.ones((n, 1)), np.zeros((3, 1)), np.arange(n) % 5,
    )  # fmt: skip
    pairs = Pairs(np.array([0, 0]), np.array([1, 2]), np.array([9, 9]))
    found = effects(rows, pairs)
    assert found.effect_N[0] > 0.3
    assert found.false_sign_N[0] <= 0.05
    assert found.low_N[0] < 0.4 < found.high_N[0] + 0.2
    assert np.isfinite(found.stderr_N).all()
