"""Exploring policies say the truth about their own chances, and keep to what they may do."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi2, norm

from tessera.contracts.errors import BadParams
from tessera.offpolicy.estimators import SlateLog, rips
from tessera.shared.policies.exploration import (
    Belief,
    ThompsonPolicy,
    learnt_score,
    may_explore,
    thompson_step,
    within_budget,
)
from tessera.shared.policies.slate import (
    EMPTY,
    SlatePolicy,
    draw_slates,
    epsilon_greedy,
    position_marginals,
    replay_slates,
    sample_slates,
    scored_step,
)

CONTEXTS, CANDIDATES, LENGTH = 6, 5, 3
THOMPSON = ThompsonPolicy(draws=64, epsilon=0.1, seed=3)
POLICIES = ("softmax", "epsilon_greedy", "thompson", "capped")


def contexts(times=1):
    """Six requests, each `times` times: beliefs, and what may be shown."""
    rng = np.random.default_rng(2)
    mean_NC = rng.normal(size=(CONTEXTS, CANDIDATES))
    stddev_NC = rng.uniform(0.2, 1.5, size=mean_NC.shape)
    allowed_NC = np.ones(mean_NC.shape, dtype=bool)
    allowed_NC[::2, 1] = False
    return [np.repeat(part, times, axis=0) for part in (mean_NC, stddev_NC, allowed_NC)]


def step_of(kind, mean_NC, stddev_NC):
    thompson = thompson_step(Belief(mean_NC, stddev_NC), THOMPSON)
    return {
        "softmax": scored_step(mean_NC, SlatePolicy(0.7, 0.2, 3)),
        "epsilon_greedy": scored_step(mean_NC, epsilon_greedy(0.3)),
        "thompson": thompson,
        "capped": within_budget(thompson, mean_NC, with_budget(len(mean_NC))),
    }[kind]


def with_budget(requests):
    """Two requests of three may explore."""
    return np.arange(requests) % 3 > 0


def test_epsilon_greedy_equals_the_formula_by_hand():
    step = scored_step(np.array([[3.0, 9.0, 5.0, 5.0]]), epsilon_greedy(0.3))
    open_NC = np.array([[True, False, True, True]])
    np.testing.assert_allclose(step(open_NC), [[0.1, 0.0, 0.8, 0.1]])


@pytest.mark.parametrize("kind", POLICIES)
def test_probabilities_sum_to_one_over_what_is_open_and_to_nothing_elsewhere(kind, rng):
    mean_NC, stddev_NC, allowed_NC = contexts(40)
    chosen_NL, propensity_NL, probability_NLC = draw_slates(
        step_of(kind, mean_NC, stddev_NC), allowed_NC, LENGTH, rng
    )
    np.testing.assert_allclose(probability_NLC.sum(axis=2), 1.0, atol=1e-12)
    assert (probability_NLC[~np.repeat(allowed_NC[:, None], LENGTH, axis=1)] == 0).all()
    for position in range(1, LENGTH):
        above_NL = chosen_NL[:, :position]
        placed = np.take_along_axis(probability_NLC[:, position], above_NL, axis=1)
        assert (placed == 0).all()
    assert (propensity_NL > 0).all()


def alike(kind, times):
    """Requests whose slates have the same chances: of one context, with or without budget."""
    contexts = np.split(np.arange(CONTEXTS * times), CONTEXTS)
    if kind != "capped":
        return contexts
    explores_N = with_budget(CONTEXTS * times)
    return [rows[explores_N[rows] == able] for rows in contexts for able in (True, False)]


def misfit(kind, tilt=0.0, times=25_000):
    """p-value of the slates of each context against their propensities, all contexts together.

    `tilt` plants an error: that share of the second best slate's probability moves to the best.
    """
    mean_NC, stddev_NC, allowed_NC = contexts(times)
    step = step_of(kind, mean_NC, stddev_NC)
    chosen_NL, propensity_NL, _ = draw_slates(step, allowed_NC, 2, np.random.default_rng(5))
    code_N = chosen_NL[:, 0] * CANDIDATES + chosen_NL[:, 1]
    statistic, freedom = 0.0, 0
    for rows in alike(kind, times):
        slates, first, counts = np.unique(code_N[rows], return_index=True, return_counts=True)
        expected = propensity_NL[rows[first]].prod(axis=1) * len(rows)
        best, *others = np.argsort(-expected)
        for second in others[:1]:  # there is none where the slate is sure
            moved = tilt * expected[second]
            expected[best] += moved
            expected[second] -= moved
        rest = len(rows) - expected.sum()  # slates that were possible and never came
        assert rest > -1e-6 * len(rows)
        statistic += ((counts - expected) ** 2 / expected).sum() + max(rest, 0.0)
        freedom += len(slates) - 1 + (rest > 1e-6 * len(rows))
    return chi2.sf(statistic, freedom)


@pytest.mark.parametrize("kind", POLICIES)
def test_frequencies_of_slates_match_their_propensities_and_a_tenth_off_is_seen(kind):
    assert misfit(kind) > 0.01
    assert misfit(kind, tilt=0.1) < 1e-3


def test_thompson_shows_what_is_best_as_often_as_the_integral_says():
    mean_NC, stddev_NC, allowed_NC = contexts()
    policy = ThompsonPolicy(draws=4_096, epsilon=1e-9, seed=1)
    share_NC = thompson_step(Belief(mean_NC, stddev_NC), policy)(allowed_NC)
    for n in range(CONTEXTS):
        for a in np.flatnonzero(allowed_NC[n]):
            others = [b for b in np.flatnonzero(allowed_NC[n]) if b != a]

            def density(x, n=n, a=a, others=others):
                below = norm.cdf((x - mean_NC[n, others]) / stddev_NC[n, others])
                return norm.pdf(x, mean_NC[n, a], stddev_NC[n, a]) * below.prod()

            exact = quad(density, -12, 12, points=[mean_NC[n, a]], limit=200)[0]
            error = np.sqrt(exact * (1 - exact) / policy.draws)
            assert share_NC[n, a] == pytest.approx(exact, abs=4 * error + 1e-6)


def test_a_sure_belief_is_greedy_and_a_closed_candidate_may_be_unknown():
    mean_NC, open_NC = np.array([[1.0, 2.0, np.nan]]), np.array([[True, True, False]])
    belief = Belief(mean_NC, np.array([[0.0, 0.0, np.nan]]))
    found_NC = thompson_step(belief, ThompsonPolicy(epsilon=0.2))(open_NC)
    np.testing.assert_allclose(found_NC, [[0.1, 0.9, 0.0]])


def test_a_slate_with_nothing_left_stays_empty(rng):
    allowed_NC = np.array([[False, True], [False, False]])
    step = thompson_step(Belief(np.zeros((2, 2)), np.ones((2, 2))), THOMPSON)
    chosen_NL, propensity_NL, probability_NLC = draw_slates(step, allowed_NC, 2, rng)
    assert chosen_NL.tolist() == [[1, EMPTY], [EMPTY, EMPTY]]
    assert (propensity_NL == 1).all()
    assert probability_NLC[1].sum() == 0


def test_the_logged_seed_gives_the_propensities_again_bit_for_bit(rng):
    mean_NC, stddev_NC, allowed_NC = contexts(20)
    step = thompson_step(Belief(mean_NC, stddev_NC), THOMPSON)
    chosen_NL, propensity_NL, probability_NLC = draw_slates(step, allowed_NC, LENGTH, rng)
    some = slice(7, 90)  # alone or in company: the same
    again = thompson_step(Belief(mean_NC[some], stddev_NC[some]), THOMPSON)
    found_NL, found_NLC = replay_slates(again, allowed_NC[some], chosen_NL[some])
    np.testing.assert_array_equal(found_NL, propensity_NL[some])
    np.testing.assert_array_equal(found_NLC, probability_NLC[some])
    other = thompson_step(Belief(mean_NC[some], stddev_NC[some]), ThompsonPolicy(64, 0.1, seed=4))
    assert (replay_slates(other, allowed_NC[some], chosen_NL[some])[0] != found_NL).any()


def test_nobody_is_shown_what_is_not_suitable_in_100_000_draws():
    mean_NC, stddev_NC, allowed_NC = contexts(17_000)
    mean_NC[:, 1] += 50.0  # the forbidden one looks best
    thompson = thompson_step(Belief(mean_NC, stddev_NC), ThompsonPolicy(draws=8))
    for step in (thompson, scored_step(mean_NC, epsilon_greedy(0.5))):
        chosen_NL, _, _ = draw_slates(step, allowed_NC, 1, np.random.default_rng(8))
        assert np.take_along_axis(allowed_NC, chosen_NL, axis=1).all()


@pytest.mark.parametrize("per_day", [0, 1, 3])
def test_the_budget_is_never_exceeded_in_a_long_stream(per_day):
    rng = np.random.default_rng(4)
    size = 20_000
    day_N = np.sort(rng.integers(0, 30, size))
    user_N = rng.integers(0, 100, size)
    explores_N = may_explore(user_N, day_N, per_day)
    score_NC = rng.normal(size=(size, 6))
    step = within_budget(scored_step(score_NC, epsilon_greedy(0.8)), score_NC, explores_N)
    chosen_NL, propensity_NL, _ = draw_slates(step, np.ones(score_NC.shape, bool), 3, rng)
    strays_N = (chosen_NL != np.argsort(-score_NC, axis=1)[:, :3]).any(axis=1)
    spent = np.bincount((user_N * 30 + day_N)[strays_N], minlength=3_000)
    assert spent.max() <= per_day
    assert (propensity_NL[~explores_N] == 1).all()
    granted = np.bincount((user_N * 30 + day_N)[explores_N], minlength=3_000)
    asked = np.bincount(user_N * 30 + day_N, minlength=3_000)
    np.testing.assert_array_equal(granted, np.minimum(asked, per_day))


def test_the_budget_goes_to_those_who_come_first_whatever_comes_later():
    user_N = np.array([1, 2, 1, 1, 2, 1])
    day_N = np.array([0, 0, 0, 0, 1, 1])
    found = may_explore(user_N, day_N, 2)
    assert found.tolist() == [True, True, True, False, True, True]
    np.testing.assert_array_equal(may_explore(user_N[:3], day_N[:3], 2), found[:3])


@pytest.mark.parametrize("kind", ["softmax", "epsilon_greedy", "thompson"])
def test_a_weighted_log_of_each_policy_gives_the_planted_value_of_another(kind, z_score):
    rng = np.random.default_rng(6)
    mean_NC, stddev_NC, allowed_NC = contexts(4_000)
    taste_NC = np.repeat(2 * rng.normal(size=(CONTEXTS, 5)), 4_000, axis=0)
    chance_NC = 1 / (1 + np.exp(1.5 - taste_NC))
    reach_L, aim = np.array([1.0, 0.8, 0.6]), SlatePolicy(0.3, 0.2, 5)
    step = step_of(kind, mean_NC, stddev_NC)
    chosen_NL, propensity_NL, _ = draw_slates(step, allowed_NC, LENGTH, rng)
    chance_NL = np.take_along_axis(chance_NC, chosen_NL, axis=1) * reach_L
    reward_NL = (rng.random(chance_NL.shape) < chance_NL).astype(float)
    wanted = scored_step(chance_NC, aim)
    weight_NL = (replay_slates(wanted, allowed_NC, chosen_NL)[0] / propensity_NL).cumprod(axis=1)
    nothing_NL = np.zeros(weight_NL.shape)
    value_N = rips(SlateLog(reward_NL, weight_NL, nothing_NL, nothing_NL))
    one = slice(None, None, 4_000)
    marginal_NLC = position_marginals(chance_NC[one], allowed_NC[one], aim, LENGTH)
    truth = np.einsum("nlc,nc,l->n", marginal_NLC, chance_NC[one], reach_L).mean()
    assert abs(z_score(value_N, truth)) < 3.3
    assert abs(z_score(reward_NL.sum(axis=1), truth)) > 10, "unweighted it is another's value"


def regret_by_batch(explore, batches=60, size=100):
    """Clicks lost in each batch by a house whose scores have the wrong order at first."""
    rng = np.random.default_rng(9)
    chance_C = np.array([0.05, 0.08, 0.10, 0.12, 0.30])
    bad_C = np.array([0.6, 0.5, 0.4, 0.3, 0.0])
    shown_C, clicked_C = np.zeros(5), np.zeros(5)
    lost = []
    for _ in range(batches):
        mean_C, stddev_C = learnt_score(shown_C, clicked_C, 1.0)
        mean_NC = np.tile(bad_C + mean_C, (size, 1))
        belief = Belief(mean_NC, np.tile(stddev_C, (size, 1)))
        step = thompson_step(belief, ThompsonPolicy(64, 0.01, 1)) if explore else (
            scored_step(mean_NC, epsilon_greedy(0.0))
        )  # fmt: skip
        chosen_N = draw_slates(step, np.ones((size, 5), bool), 1, rng)[0][:, 0]
        shown_C += np.bincount(chosen_N, minlength=5)
        clicked_C += np.bincount(chosen_N[rng.random(size) < chance_C[chosen_N]], minlength=5)
        lost.append(0.30 - chance_C[chosen_N].mean())
    return np.array(lost)


def test_thompson_overcomes_a_bad_prior_that_greedy_never_leaves():
    thompson, greedy = regret_by_batch(explore=True), regret_by_batch(explore=False)
    assert thompson[30:].sum() < 0.3 * thompson[:30].sum(), "regret grows ever more slowly"
    assert greedy[30:].sum() > 0.9 * greedy[:30].sum(), "regret grows in a line"


def test_what_is_learnt_moves_towards_the_clicks_and_grows_surer():
    mean_I, stddev_I = learnt_score(np.array([0, 1000, 1000]), np.array([0, 50, 150]), 0.5)
    assert stddev_I[0] == 0.5
    assert mean_I[0] == 0
    assert mean_I[1] < 0 < mean_I[2]
    information = 1 / 0.5**2 + 1000 * 0.1 * 0.9
    np.testing.assert_allclose(stddev_I[1:], information**-0.5)
    np.testing.assert_allclose(mean_I[1:], [-50 / information, 50 / information])


@pytest.mark.parametrize("wrong", [{"draws": 0}, {"epsilon": 0.0}, {"seed": -1}])
def test_an_impossible_policy_is_refused(wrong):
    with pytest.raises(BadParams, match="epsilon"):
        ThompsonPolicy(**wrong)


def test_one_machinery_draws_softmax_and_every_other_step():
    mean_NC, _, allowed_NC = contexts(50)
    policy = SlatePolicy(0.7, 0.2, 3)
    drawn = [
        sample_slates(mean_NC, allowed_NC, policy, 3, np.random.default_rng(1)),
        draw_slates(scored_step(mean_NC, policy), allowed_NC, 3, np.random.default_rng(1)),
    ]
    for one, other in zip(*drawn, strict=True):
        np.testing.assert_array_equal(one, other)
