"""What a level leaves over, on codes whose answer is known."""

import numpy as np
import pytest

from tessera.shared.codes.geometry import reached


def planted(rng):
    """Four groups of four groups of ten; the outer ones lie far apart."""
    outer, inner = np.repeat(np.arange(4), 40), np.tile(np.repeat(np.arange(4), 10), 4)
    vector_ND = np.zeros((160, 8))
    vector_ND[np.arange(160), outer] += 20.0
    vector_ND[np.arange(160), 4 + inner] += 3.0
    return vector_ND + 0.01 * rng.standard_normal((160, 8)), np.column_stack([outer, inner])


def test_each_level_leaves_less_and_the_last_one_noise(rng):
    vector_ND, code_NL = planted(rng)
    first, second = reached(vector_ND, code_NL, 4)
    assert 0.001 < first.error < 0.1
    assert second.error < 1e-4
    np.testing.assert_allclose(first.vector_ND[:40], np.tile(vector_ND[:40].mean(axis=0), (40, 1)))
    assert first.count_K.tolist() == [40] * 4


def test_shuffled_codes_explain_nothing(rng):
    vector_ND, code_NL = planted(rng)
    last = list(reached(vector_ND, rng.permutation(code_NL), 4))[-1]
    assert last.error > 0.8


def test_a_level_with_nothing_left_to_tell_could_use_one_codeword(rng):
    vector_ND = np.repeat(rng.standard_normal((3, 2)), 5, axis=0)
    code_NL = np.column_stack([np.repeat([0, 1, 2], 5), np.zeros(15, int)])
    first, second = reached(vector_ND, code_NL, 8)
    assert (first.distinct, second.distinct) == (3, 1)
    assert second.error == pytest.approx(0.0)
    nothing = next(reached(np.ones((4, 2)), np.zeros((4, 1), int), 8))
    assert (nothing.error, nothing.distinct) == (0.0, 1)
