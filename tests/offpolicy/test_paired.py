"""The paired score on every slate that there can be: its mean, its floor, and what it costs."""

from itertools import permutations, product

import numpy as np
import pyarrow as pa
import pytest

from tessera.offpolicy import paired
from tessera.offpolicy.paired import paired_scores, score_floor
from tessera.offpolicy.replay import logging_policy, replay, scored_replay
from tessera.offpolicy.requests import Requests
from tessera.shared.policies.slate import SlatePolicy, sample_slates, slate_propensities

CANDIDATES, POSITIONS = 4, 3
LOGGER = SlatePolicy(temperature=1.0, epsilon=0.1, top_k=CANDIDATES)
WIDE, NARROW = (1000.0, 1000.0), (1.5, 1.0)
"""Cap and prefix cap."""


class Everything:
    """One request served with every slate: means are sums over slates by their probability."""

    def __init__(self, rng, spread=1.0):
        self.slate_SL = np.array(list(permutations(range(CANDIDATES), POSITIONS)))
        slates = len(self.slate_SL)
        self.allowed_SC = np.ones((slates, CANDIDATES), dtype=bool)
        self.logger_C = spread * rng.normal(size=CANDIDATES)
        step_SL, served_SLC = slate_propensities(
            self.rows(self.logger_C), self.allowed_SC, LOGGER, self.slate_SL
        )
        self.chance_S = step_SL.prod(axis=1)
        # What is above matters: a reward depends on the item and on the one before it.
        chance_CC = rng.uniform(0, 1, (CANDIDATES + 1, CANDIDATES))
        before_SL = np.column_stack([np.full(slates, CANDIDATES), self.slate_SL[:, :-1]])
        self.reward_SL = chance_CC[before_SL, self.slate_SL]
        self.guess_SLC = np.broadcast_to(
            rng.uniform(0, 1, (POSITIONS, CANDIDATES)), served_SLC.shape
        )
        self.log = self.logged(self.reward_SL, step_SL, served_SLC)

    def rows(self, score_C):
        return np.tile(score_C, (len(self.slate_SL), 1))

    def logged(self, reward_SL, step_SL=None, served_SLC=None):
        slates = len(self.slate_SL)
        zeros = np.zeros(slates, dtype=np.int64)
        return Requests(
            request_ids=pa.nulls(slates), event_us_N=np.arange(slates), user_N=zeros,
            user_ids=pa.array(["u"]), risk_N=zeros, capacity_N=zeros,
            candidate_NC=np.tile(np.arange(CANDIDATES), (slates, 1)), chosen_NL=self.slate_SL,
            served_NLC=self.log.served_NLC if served_SLC is None else served_SLC,
            propensity_NL=self.log.propensity_NL if step_SL is None else step_SL,
            reward_NL=reward_SL, dismissed_NL=np.zeros(self.slate_SL.shape),
        )  # fmt: skip

    def policy(self, score_C, temperature=1.0):
        slate = SlatePolicy(temperature, 0.1, CANDIDATES)
        return scored_replay(self.log, self.rows(score_C), self.allowed_SC, slate)

    def value(self, score_C, temperature=1.0):
        slate = SlatePolicy(temperature, 0.1, CANDIDATES)
        step_SL, _ = slate_propensities(self.rows(score_C), self.allowed_SC, slate, self.slate_SL)
        return float(step_SL.prod(axis=1) @ self.reward_SL.sum(axis=1))

    def scored(self, policies, caps, log=None):
        log = log or self.log
        return paired_scores(log, policies, self.allowed_SC, self.guess_SLC, *caps)

    def mean(self, paired):
        return float(self.chance_S @ paired.score_N)


@pytest.fixture(params=range(6))
def world(request):
    rng = np.random.default_rng(request.param)
    made = Everything(rng)
    return made, 2.0 * rng.normal(size=CANDIDATES), 2.0 * rng.normal(size=CANDIDATES)


def test_its_mean_is_the_lift_whatever_the_model_where_nothing_is_paid(world):
    made, candidate_C, champion_C = world
    lift = made.value(candidate_C) - made.value(champion_C)
    policies = made.policy(candidate_C), made.policy(champion_C)
    for caps in (WIDE, (1.0, 1000.0)):
        paired = made.scored(policies, caps)
        assert made.mean(paired) == pytest.approx(lift, abs=1e-12)
        assert not paired.paid_N.any()


def test_where_prefixes_are_thinned_its_mean_is_at_most_the_lift(world):
    made, candidate_C, champion_C = world
    lift = made.value(candidate_C) - made.value(champion_C)
    policies = made.policy(candidate_C), made.policy(champion_C)
    paired = made.scored(policies, NARROW)
    paid = float(made.chance_S @ paired.paid_N)
    assert paid > 0.001, "or the test says nothing"
    assert made.mean(paired) <= lift + 1e-12


def test_no_rewards_bring_it_below_its_floor(world):
    made, candidate_C, champion_C = world
    policies = made.policy(candidate_C, 0.3), made.policy(champion_C, 0.3)
    for caps in (NARROW, (3.0, 2.0)):
        least = min(
            made.scored(policies, caps, made.logged(np.tile(reward_L, (len(made.slate_SL), 1))))
            .score_N.min()
            for reward_L in product((0.0, 1.0), repeat=POSITIONS)
        )  # fmt: skip
        assert -score_floor(POSITIONS, *caps) <= least < -caps[0]


def test_a_policy_against_itself_scores_exactly_nothing(world):
    made, candidate_C, _ = world
    policy = made.policy(candidate_C, 0.1)
    paired = made.scored((policy, policy), NARROW)
    assert (paired.score_N == 0).all()
    assert (paired.paid_N == 0).all()


@pytest.mark.parametrize("positions", [4, 5, 8])
def test_a_policy_against_itself_scores_exactly_nothing_on_long_slates(positions, rng):
    """Further down than the look ahead follows, and where the log could not show what it wants."""
    requests, candidates = 50, 10
    shape = requests, candidates
    score_NC, allowed_NC = rng.normal(size=shape), np.ones(shape, dtype=bool)
    slates = sample_slates(np.zeros(shape), allowed_NC, LOGGER, positions, rng)
    chosen_NL, propensity_NL, served_NLC = slates
    zeros_N, zeros_NL = np.zeros(requests, dtype=np.int64), np.zeros(chosen_NL.shape)
    served_NLC = np.where(rng.random(served_NLC.shape) < 0.1, 0.0, served_NLC)
    log = Requests(
        request_ids=pa.nulls(requests), event_us_N=np.arange(requests), user_N=zeros_N,
        user_ids=pa.array(["u"]), risk_N=zeros_N, capacity_N=zeros_N,
        candidate_NC=np.tile(np.arange(candidates), (requests, 1)), chosen_NL=chosen_NL,
        served_NLC=served_NLC, propensity_NL=propensity_NL,
        reward_NL=(rng.random(chosen_NL.shape) < 0.3).astype(float), dismissed_NL=zeros_NL,
    )  # fmt: skip
    policy = scored_replay(log, score_NC, allowed_NC, SlatePolicy(0.1, 0.1, candidates))
    assert policy.weight_NL[:, 0].max() > 5.0, "or nothing would be thinned"
    guess_NLC = rng.random(served_NLC.shape)
    paired = paired_scores(log, (policy, policy), allowed_NC, guess_NLC, 2.0, 5.0)
    assert (paired.score_N == 0).all()
    assert (paired.paid_N == 0).all()


def test_no_rewards_bring_it_below_its_floor_against_the_policy_that_served(world):
    made, candidate_C, _ = world
    policies = made.policy(candidate_C, 0.3), logging_policy(made.log)
    for reward_L in product((0.0, 1.0), repeat=POSITIONS):
        log = made.logged(np.tile(reward_L, (len(made.slate_SL), 1)))
        paired = made.scored(policies, (1.0, 5.0), log)
        assert paired.score_N.min() >= -paired.floor


def test_against_the_policy_that_served_it_needs_no_look_ahead(world):
    made, candidate_C, _ = world
    policies = made.policy(candidate_C), logging_policy(made.log)
    paired = made.scored(policies, (1.0, 1.0))
    lift = made.value(candidate_C) - made.value(made.logger_C)
    assert made.mean(paired) == pytest.approx(lift, abs=1e-12)
    assert paired.floor == POSITIONS * 2.0, "and no prefix can lose more than its positions"


@pytest.fixture
def part(world):
    """A champion that is the policy that served until something else was drawn than item 0 or 1."""
    made, candidate_C, champion_C = world
    own, served_SLC = made.policy(champion_C, 0.3), made.log.served_NLC
    wrote_SL = np.ones(made.slate_SL.shape, bool)
    wrote_SL[:, 1:] = np.logical_and.accumulate(made.slate_SL[:, :-1] < 2, axis=1)
    wanted_SLC = np.where(wrote_SL[:, :, None], served_SLC, own.wanted_NLC)
    champion = replay(made.log, wanted_SLC)
    step_SL = np.take_along_axis(wanted_SLC, made.slate_SL[:, :, None], 2)[..., 0]
    value = float(step_SL.prod(axis=1) @ made.reward_SL.sum(axis=1))
    assert (champion.wrote(made.log) == wrote_SL).all()
    return made, (made.policy(candidate_C, 0.3), champion), made.value(candidate_C, 0.3) - value


def test_against_one_that_served_a_part_its_mean_is_at_most_the_lift(part):
    made, policies, lift = part
    wide, narrow = made.scored(policies, WIDE), made.scored(policies, (0.5, 0.2))
    assert made.mean(wide) == pytest.approx(lift, abs=1e-12)
    assert made.mean(narrow) <= lift + 1e-12
    assert narrow.paid_N.max() > 0, "or the test says nothing"
    served = policies[1].wrote(made.log).all(axis=1)
    assert served.any()
    assert not served.all()
    assert (narrow.paid_N[served] == 0).all()


def test_against_one_that_served_a_part_no_rewards_bring_it_below_its_floor(part):
    made, policies, _ = part
    for reward_L in product((0.0, 1.0), repeat=POSITIONS):
        log = made.logged(np.tile(reward_L, (len(made.slate_SL), 1)))
        for caps in ((0.25, 0.1), NARROW):
            found = made.scored(policies, caps, log)
            assert found.floor == score_floor(POSITIONS, *caps)
            assert found.score_N.min() >= -found.floor


def test_without_a_look_ahead_the_champion_is_taken_to_lose_all_of_its_mass(world):
    made, candidate_C, champion_C = world
    seen = made.policy(candidate_C), made.policy(champion_C)
    blind = seen[0], replay(made.log, seen[1].wanted_NLC)
    found, worse = made.scored(seen, NARROW), made.scored(blind, NARROW)
    assert (worse.paid_N >= found.paid_N - 1e-12).all()
    assert worse.paid_N.sum() > found.paid_N.sum()
    assert made.mean(worse) <= made.value(candidate_C) - made.value(champion_C)
    assert worse.score_N.min() >= -worse.floor


def test_how_many_prefixes_are_followed_at_once_changes_no_bit(world, monkeypatch):
    made, candidate_C, champion_C = world
    policies = made.policy(candidate_C), made.policy(champion_C)
    whole = made.scored(policies, NARROW)
    monkeypatch.setattr(paired, "_AT_ONCE", 1)
    found = made.scored(policies, NARROW)
    assert (found.score_N == whole.score_N).all()
    assert whole.paid_N.any(), "or nothing was followed"


def test_where_too_many_prefixes_would_be_followed_a_narrow_cap_takes_the_mass(world, monkeypatch):
    made, candidate_C, champion_C = world
    policies = made.policy(candidate_C), made.policy(champion_C)
    followed = made.scored(policies, NARROW)
    monkeypatch.setattr(paired, "_MOST_FOLLOWED", 0)
    found = made.scored(policies, NARROW)
    assert found.paid_N.sum() > followed.paid_N.sum(), "all of the mass is taken"
    assert made.mean(found) <= made.value(candidate_C) - made.value(champion_C) + 1e-12
    assert found.score_N.min() >= -found.floor


def test_what_the_log_never_shows_is_paid_at_full_reward(world):
    made, candidate_C, champion_C = world
    policies = made.policy(candidate_C), made.policy(champion_C)
    hidden = 3
    served_SLC = made.log.served_NLC.copy()
    served_SLC[:, :, hidden] = 0.0
    keep_S = ~(made.slate_SL == hidden).any(axis=1)
    served_SLC /= served_SLC.sum(axis=2, keepdims=True)
    step_SL = np.take_along_axis(served_SLC, made.slate_SL[:, :, None], 2)[..., 0]
    log = made.logged(made.reward_SL, step_SL, served_SLC)
    paired = paired_scores(log, policies, made.allowed_SC, made.guess_SLC, *WIDE)
    mean = float((step_SL.prod(axis=1) * keep_S) @ paired.score_N)
    assert mean < made.value(candidate_C) - made.value(champion_C)


def test_what_the_log_never_shows_may_have_earned_at_every_position_below_too(world):
    """Whatever follows the hidden item is rewarded, nothing else: all of it is the champion's."""
    made, _, champion_C = world
    hidden = 3
    served_SLC = made.log.served_NLC.copy()
    served_SLC[:, :, hidden] = 0.0
    served_SLC /= served_SLC.sum(axis=2, keepdims=True)
    step_SL = np.take_along_axis(served_SLC, made.slate_SL[:, :, None], 2)[..., 0]
    log = made.logged(np.zeros(made.slate_SL.shape), step_SL, served_SLC)
    policies = logging_policy(log), made.policy(champion_C)
    paired = paired_scores(log, policies, made.allowed_SC, made.guess_SLC, *WIDE)
    made.reward_SL = np.cumsum(made.slate_SL == hidden, axis=1)
    lift = 0.0 - made.value(champion_C)
    assert float(step_SL.prod(axis=1) @ paired.score_N) == pytest.approx(lift, abs=1e-12)


def test_its_slope_is_what_one_more_reward_adds(world):
    made, candidate_C, champion_C = world
    policies = made.policy(candidate_C), made.policy(champion_C)
    before = made.scored(policies, NARROW)
    for position in range(POSITIONS):
        more_SL = made.reward_SL.copy()
        more_SL[:, position] += 0.1
        after = made.scored(policies, NARROW, made.logged(more_SL))
        np.testing.assert_allclose(
            after.score_N - before.score_N, 0.1 * before.slope_NL[:, position], atol=1e-12
        )


def test_one_position_by_hand():
    """p = (.9, .1), champion p, candidate (.7, .3): a click on the rare item scores 1, none -1."""
    log = Requests(
        request_ids=pa.nulls(2), event_us_N=np.arange(2), user_N=np.zeros(2, int),
        user_ids=pa.array(["u"]), risk_N=np.ones(2, int), capacity_N=np.ones(2, int),
        candidate_NC=np.array([[0, 1], [0, 1]]), chosen_NL=np.array([[1], [1]]),
        served_NLC=np.full((2, 1, 2), [0.9, 0.1]), propensity_NL=np.full((2, 1), 0.1),
        reward_NL=np.array([[1.0], [0.0]]), dismissed_NL=np.zeros((2, 1)),
    )  # fmt: skip
    candidate = replay(log, np.full((2, 1, 2), [0.7, 0.3]))
    policies = candidate, logging_policy(log)
    allowed, guess = np.ones((2, 2), dtype=bool), np.full((2, 1, 2), 0.5)
    found = paired_scores(log, policies, allowed, guess, 5.0, 10.0)
    np.testing.assert_allclose(found.score_N, [1.0, -1.0])
    # A cap of .5 lowers the guess of the rare item to .25: 2 (1 - .25) and -2 x .25, less .05.
    found = paired_scores(log, policies, allowed, guess, 0.5, 10.0)
    np.testing.assert_allclose(found.score_N, [1.45, -0.55])


def test_without_support_it_keeps_a_floor_so_that_the_log_can_be_called_invalid(world):
    made, candidate_C, champion_C = world
    policies = made.policy(candidate_C), made.policy(champion_C, 0.1)
    served_SLC = np.where(np.arange(CANDIDATES) == 0, 0.0, made.log.served_NLC)
    served_SLC /= np.maximum(served_SLC.sum(axis=2, keepdims=True), 1e-12)
    step_SL = np.take_along_axis(served_SLC, made.slate_SL[:, :, None], 2)[..., 0]
    for reward_L in product((0.0, 1.0), repeat=POSITIONS):
        reward_SL = np.tile(reward_L, (len(made.slate_SL), 1))
        log = made.logged(reward_SL, step_SL, served_SLC)
        found = paired_scores(log, policies, made.allowed_SC, made.guess_SLC, *NARROW)
        assert found.score_N.min() >= -found.floor
    assert found.floor > score_floor(POSITIONS, *NARROW)
