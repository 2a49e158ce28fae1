import numpy as np
import pytest
from scipy.stats import chisquare

from tessera.contracts.errors import BadParams
from tessera.shared.policies.slate import (
    EMPTY,
    SlatePolicy,
    epsilon_greedy,
    position_marginals,
    sample_slate,
    sample_slates,
    slate_propensities,
    step_probabilities,
)

POLICY = SlatePolicy(temperature=0.7, epsilon=0.2, top_k=3)


def test_one_step_equals_the_formula_by_hand():
    scores_NC = np.array([[3.0, 1.0, 2.0, 0.0, 9.0]])
    open_NC = np.array([[True, True, True, True, False]])
    soft = np.exp(np.array([3.0, 1.0, 2.0]) / 0.7)
    soft /= soft.sum()
    expected = [0.8 * soft[0] + 0.05, 0.8 * soft[1] + 0.05, 0.8 * soft[2] + 0.05, 0.05, 0.0]
    np.testing.assert_allclose(step_probabilities(scores_NC, open_NC, POLICY)[0], expected)


def test_probabilities_sum_to_one_and_are_zero_for_what_is_closed_or_placed_above(rng):
    scores_NC = rng.normal(size=(300, 8)) * 50
    allowed_NC = rng.random((300, 8)) < 0.8
    allowed_NC[:, :3] = True
    chosen_NL, _, probabilities_NLC = sample_slates(scores_NC, allowed_NC, POLICY, 3, rng)
    np.testing.assert_allclose(probabilities_NLC.sum(axis=2), 1.0)
    assert (probabilities_NLC[~np.repeat(allowed_NC[:, None], 3, axis=1)] == 0).all()
    row_N = np.arange(300)
    for later in (1, 2):
        for above in range(later):
            assert (probabilities_NLC[row_N, later, chosen_NL[:, above]] == 0).all()
    assert all(len(set(slate)) == 3 for slate in chosen_NL)


def test_frequencies_of_whole_slates_match_their_propensities(rng):
    times = 40_000
    scores_NC = np.tile([0.5, -0.2, 1.0, 0.1], (times, 1))
    allowed_NC = np.ones((times, 4), dtype=bool)
    chosen_NL, propensity_NL, _ = sample_slates(scores_NC, allowed_NC, POLICY, 2, rng)
    slate_N = chosen_NL[:, 0] * 4 + chosen_NL[:, 1]
    kinds, first, counts = np.unique(slate_N, return_index=True, return_counts=True)
    expected = propensity_NL.prod(axis=1)[first]
    assert len(kinds) == 12
    assert expected.sum() == pytest.approx(1.0)
    assert chisquare(counts, expected * times).pvalue > 1e-3


def test_replaying_own_slates_gives_the_logged_propensities_again(rng):
    scores_NC = rng.normal(size=(200, 6))
    allowed_NC = rng.random((200, 6)) < 0.7
    chosen_NL, propensity_NL, probabilities_NLC = sample_slates(
        scores_NC, allowed_NC, POLICY, 3, rng
    )
    again_NL, all_again_NLC = slate_propensities(scores_NC, allowed_NC, POLICY, chosen_NL)
    np.testing.assert_array_equal(again_NL, propensity_NL)
    np.testing.assert_array_equal(all_again_NLC, probabilities_NLC)


def test_a_slate_with_nothing_left_has_empty_positions_of_weight_one(rng):
    allowed_NC = np.array([[False, True, False], [False, False, False]])
    chosen_NL, propensity_NL, probabilities_NLC = sample_slates(
        np.zeros((2, 3)), allowed_NC, POLICY, 2, rng
    )
    assert chosen_NL.tolist() == [[1, EMPTY], [EMPTY, EMPTY]]
    assert propensity_NL.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert probabilities_NLC[1].sum() == 0
    again_NL, _ = slate_propensities(np.zeros((2, 3)), allowed_NC, POLICY, chosen_NL)
    np.testing.assert_array_equal(again_NL, propensity_NL)


def test_what_the_policy_may_not_show_has_probability_zero():
    allowed_NC = np.array([[True, True, False]])
    propensity_NL, _ = slate_propensities(np.zeros((1, 3)), allowed_NC, POLICY, np.array([[2, 0]]))
    assert propensity_NL[0, 0] == 0
    assert propensity_NL[0, 1] == pytest.approx(0.5)


def test_scores_of_closed_candidates_do_not_matter():
    open_NC = np.array([[True, True, False]])
    wild = step_probabilities(np.array([[1.0, 2.0, np.nan]]), open_NC, POLICY)
    tame = step_probabilities(np.array([[1.0, 2.0, 0.0]]), open_NC, POLICY)
    np.testing.assert_array_equal(wild, tame)


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"epsilon": 1.1}, {"top_k": 0}])
def test_an_impossible_policy_is_refused(wrong):
    with pytest.raises(BadParams, match="temperature"):
        SlatePolicy(**wrong)


def test_marginals_are_what_many_draws_give(rng):
    times = 40_000
    scores_NC = np.tile([0.5, -0.2, 1.0, 0.1, 3.0], (times, 1))
    allowed_NC = np.tile([True, True, True, True, False], (times, 1))
    chosen_NL, _, _ = sample_slates(scores_NC, allowed_NC, POLICY, 3, rng)
    marginal_NLC = position_marginals(scores_NC[:1], allowed_NC[:1], POLICY, 3)
    np.testing.assert_allclose(marginal_NLC.sum(axis=2), 1.0)
    for position in range(3):
        counts = np.bincount(chosen_NL[:, position], minlength=5)
        assert counts[4] == 0
        assert chisquare(counts[:4], marginal_NLC[0, position, :4] * times).pvalue > 1e-3


def test_without_any_candidate_every_position_stays_empty():
    none = np.zeros((2, 0))
    chosen, propensity, every = sample_slates(
        none, none.astype(bool), SlatePolicy(), 3, np.random.default_rng(0)
    )
    assert (chosen == EMPTY).all()
    assert (propensity == 1.0).all()
    assert every.shape == (2, 3, 0)
    assert chosen.shape == (2, 3)


@pytest.mark.parametrize("candidates", [0, 1, 3, 40])
@pytest.mark.parametrize("policy", [
    SlatePolicy(0.5, 0.2, 10), SlatePolicy(1.0, 0.0, 1), SlatePolicy(2.0, 1.0, 3),
    epsilon_greedy(0.3),
])  # fmt: skip
def test_one_slate_is_drawn_as_one_of_many(rng, candidates, policy):
    for seed in range(30):
        scores = rng.normal(size=candidates).round(1)  # some are equal
        many = sample_slates(
            scores[None], np.ones((1, candidates), bool), policy, 10, np.random.default_rng(seed)
        )
        one = sample_slate(scores, policy, 10, np.random.default_rng(seed))
        for mine, wanted in zip(one, many, strict=True):
            np.testing.assert_array_equal(mine, wanted[0])
