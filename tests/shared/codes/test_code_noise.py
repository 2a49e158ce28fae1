"""Crowded codewords are seen where perplexity sees nothing; the four planted cases, and edges."""

import numpy as np
import pytest

from tessera.shared.codes.health import level_health
from tessera.shared.codes.noise import (
    displacement,
    flip_rates,
    noise_margin,
    overlap_under_noise,
    spread,
)

SIZE, WIDTH, NOISE = 64, 16, 0.1
EVEN = np.full(SIZE, 100)
IMBALANCED = np.array([*[1000] * 8, *[6] * 56])
"""Effective number 8.6."""


def apart(rng):
    return rng.standard_normal((SIZE, WIDTH))


def crowded(rng):
    """Four far places, the codewords of each within the noise of the others."""
    places = 3.0 * rng.standard_normal((4, WIDTH))
    return places[np.arange(SIZE) % 7 % 4] + 0.01 * rng.standard_normal((SIZE, WIDTH))


def flipped(codeword_KD, count_K, rng):
    """Share of vectors at their codeword that lie nearer to another one after noise."""
    code_N = np.repeat(np.arange(SIZE), count_K)
    moved_ND = codeword_KD[code_N] + NOISE * rng.standard_normal((len(code_N), WIDTH))
    gap_NK = np.sum(codeword_KD**2, axis=1) - 2.0 * moved_ND @ codeword_KD.T
    return float(np.mean(np.argmin(gap_NK, axis=1) != code_N))


def perplexity(count_K):
    return level_health(np.repeat(np.arange(SIZE), count_K), SIZE)["perplexity"]


def test_the_four_planted_cases_are_ranked_where_perplexity_says_64_of_the_crowded_one(rng):
    cases = {
        "healthy": (apart(rng), EVEN), "imbalanced": (apart(rng), IMBALANCED),
        "crowded": (crowded(rng), EVEN), "both": (crowded(rng), IMBALANCED),
    }  # fmt: skip
    use = {name: overlap_under_noise(*case, NOISE) for name, case in cases.items()}
    capacity = [use[name].capacity for name in cases]
    assert capacity == sorted(capacity, reverse=True)
    assert capacity[0] == pytest.approx(64.0, rel=1e-3)
    assert capacity[2] < 5.0
    assert perplexity(cases["crowded"][1]) == pytest.approx(64.0)
    assert use["healthy"].geometry == pytest.approx(1.0, abs=1e-3)
    assert use["imbalanced"].geometry == pytest.approx(1.0, abs=1e-3)
    assert use["imbalanced"].distribution < 11.0
    assert use["crowded"].distribution == pytest.approx(64.0)
    assert use["crowded"].geometry < 0.1
    for one in use.values():
        assert one.capacity == pytest.approx(one.distribution * one.geometry)
        assert one.capacity == pytest.approx(1.0 / one.overlap)


def test_more_items_flip_as_less_capacity_is_left(rng):
    places, towards = apart(rng), rng.standard_normal((SIZE, WIDTH))
    left, flips = [], []
    for narrow in (1.0, 0.1, 0.04, 0.01):
        codeword_KD = narrow * places + 0.001 * towards
        left.append(overlap_under_noise(codeword_KD, EVEN, NOISE).capacity)
        flips.append(flipped(codeword_KD, EVEN, rng))
    assert left == sorted(left, reverse=True)
    assert flips == sorted(flips)
    assert flips[0] < 0.01 < 0.8 < flips[-1]


@pytest.mark.parametrize("count_K", [[0, 0, 0], [0, 9, 0], [1, 0, 0]])
def test_a_level_that_uses_one_codeword_or_none_has_capacity_one(count_K):
    use = overlap_under_noise(np.zeros((3, 2)), np.array(count_K), 0.1)
    assert (use.overlap, use.capacity, use.distribution, use.geometry) == (1.0, 1.0, 1.0, 1.0)


def test_without_noise_only_codewords_at_one_place_overlap():
    codeword_KD = np.array([[0.0], [0.0], [1e-6], [1.0]])
    use = overlap_under_noise(codeword_KD, np.ones(4, int), 0.0)
    assert use.overlap == pytest.approx((4 + 2) / 16)
    assert overlap_under_noise(codeword_KD, np.ones(4, int), 1e9).capacity == pytest.approx(1.0)


def test_a_codeword_that_nobody_has_changes_nothing(rng):
    codeword_KD, count_K = apart(rng), EVEN.copy()
    count_K[5] = 0
    near = codeword_KD.copy()
    near[5] = near[6]
    assert overlap_under_noise(codeword_KD, count_K, 1.0) == (
        overlap_under_noise(near, count_K, 1.0)
    )


def test_of_many_codewords_some_tell_of_all(rng):
    codeword_KD, count_K = rng.standard_normal((5000, 3)), rng.integers(1, 9, 5000)
    found = overlap_under_noise(codeword_KD, count_K, 0.05)
    share_K = count_K / count_K.sum()
    gap_KK = np.linalg.norm(codeword_KD[:, None] - codeword_KD[None, ::1], axis=2)
    from scipy.stats import norm

    exact = float(share_K @ (2 * norm.sf(gap_KK / 0.1)) @ share_K)
    assert found.overlap == pytest.approx(exact, rel=0.05)


def test_the_margin_of_two_codewords_is_where_half_of_the_items_cross(rng):
    """Items at -1 and 1, cut at 0: half cross only as noise drowns all, so the farther of three."""
    vector_ND = np.repeat([[-1.0], [0.0], [1.0]], 2000, axis=0)

    def encode(some_ND):
        return np.argmin(np.abs(some_ND - np.array([-1.0, 0.0, 1.0])), axis=1)[:, None]

    margin = noise_margin(vector_ND, encode, seed=1)
    from scipy.stats import norm

    sigma = margin * spread(vector_ND)
    crosses = (2 * norm.sf(0.5 / sigma) + 2 * norm.sf(0.5 / sigma)) / 3
    assert crosses == pytest.approx(0.5, abs=0.02)
    assert noise_margin(vector_ND, encode, seed=1) == margin


def test_codes_that_never_move_have_no_margin(rng):
    vector_ND = rng.standard_normal((20, 3))
    assert noise_margin(vector_ND, lambda some: np.zeros((len(some), 2), int), 0) is None
    assert noise_margin(np.ones((20, 3)), lambda some: np.zeros((len(some), 2), int), 0) is None


def test_a_flip_above_counts_below_and_displacement_is_by_direction():
    one, two = np.array([[0, 5], [1, 5]]), np.array([[1, 5], [1, 5]])
    assert flip_rates(one, two) == [0.5, 0.5]
    shift = np.random.default_rng(0).normal(0.0, 0.3, (4000, 8))
    assert displacement(np.zeros((4000, 8)), shift) == pytest.approx(0.3, rel=0.02)
