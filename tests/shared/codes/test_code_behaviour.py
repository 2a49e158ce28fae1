"""Codes that follow what investors do together are told from codes that do not."""

import numpy as np
import pytest

from tessera.shared.codes.behaviour import Pairs, hit_rates, soft_matching


def within_groups(rng, groups=8, size=10, pairs=600):
    group = rng.integers(0, groups, pairs)
    ends = group[:, None] * size + np.array([rng.permutation(size)[:2] for _ in range(pairs)])
    return Pairs(ends[:, 0], ends[:, 1], rng.integers(1, 5, pairs).astype(float))


def test_codes_of_the_groups_hit_always_and_others_as_chance_has_it(rng):
    pairs = within_groups(rng)
    ((rate, chance),) = hit_rates(np.repeat(np.arange(8), 10)[:, None], pairs)
    assert rate == 1.0
    assert chance == pytest.approx(1 / 8, abs=0.03)
    found = [hit_rates(rng.permutation(np.repeat(np.arange(8), 10))[:, None], pairs)[0]
             for _ in range(30)]  # fmt: skip
    rates, chances = np.array(found).T
    assert rates.mean() == pytest.approx(chances.mean(), abs=0.02)


def test_a_deeper_level_counts_only_below_the_same_codeword():
    pairs = Pairs(np.array([0, 0]), np.array([1, 2]), np.ones(2))
    found = hit_rates(np.array([[1, 4], [1, 5], [2, 4]]), pairs)
    assert [rate for rate, _ in found] == [0.5, 0.0]


def test_an_item_that_everybody_has_makes_no_code_look_good():
    """Its code is hit often because it is had often: chance says so."""
    hub = Pairs(np.zeros(9, int), np.arange(1, 10), np.ones(9))
    (rate, chance), = hit_rates(np.array([0] * 5 + [1] * 5)[:, None], hub)  # fmt: skip
    assert rate == pytest.approx(4 / 9)
    assert chance == pytest.approx(4 / 9), "as often as its items are had"


def test_near_codes_match_behaviour_and_shuffled_ones_are_a_coin(rng):
    pairs = within_groups(rng)
    known_ND = np.repeat(rng.standard_normal((8, 4)), 10, axis=0)
    known_ND = known_ND + 0.1 * rng.standard_normal((80, 4))
    assert soft_matching(known_ND, pairs, 0) > 0.9
    assert soft_matching(rng.permutation(known_ND), pairs, 0) == pytest.approx(0.5, abs=0.12)
    assert soft_matching(np.zeros((80, 1)), pairs, 0) == 0.5
    assert soft_matching(known_ND, pairs, 3) == soft_matching(known_ND, pairs, 3)


def test_without_pairs_nothing_is_measured():
    none = Pairs(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    assert hit_rates(np.zeros((3, 1), int), none) is None
    assert soft_matching(np.zeros((3, 1)), none, 0) is None
