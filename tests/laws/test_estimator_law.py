"""What every estimator and bound must keep, on planted truth.

A new estimator inherits the laws by a line in ESTIMATORS: how it is called, and which of two broken
helps (a wrong reward model, wrong propensities) it must survive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tessera.contracts.arrays import Float64s
from tessera.offpolicy import estimators
from tessera.offpolicy.clusters import ClusterLog, mips, offcem
from tessera.offpolicy.estimators import Log, SlateLog
from tessera.offpolicy.paired import paired_scores
from tessera.offpolicy.replay import logging_policy, scored_replay, slate_log
from tessera.offpolicy.requests import Requests
from tessera.offpolicy.sequences import Wager, log_wealth
from tessera.shared.policies.slate import SlatePolicy, sample_slates, slate_propensities

REPLICATIONS = 200


@dataclass
class Law:
    """An estimator and what it must survive."""

    estimate: Callable[[Log], Float64s]
    survives_wrong_model: bool
    survives_wrong_propensities: bool


ESTIMATORS = {
    "ips": Law(estimators.ips, True, False),
    "snips": Law(estimators.snips, True, False),
    "dm": Law(estimators.dm, False, True),
    "dr": Law(estimators.dr, True, True),
    "sndr": Law(estimators.sndr, True, True),
    "switch_dr": Law(lambda log: estimators.switch_dr(log, 1e9), True, True),
    "dros": Law(lambda log: estimators.dros(log, 1e9), True, True),
}


def bandit(rng, *, wrong_model=False, wrong_propensities=False, n=1000):
    """Three contexts, four actions, known chances; returns the log and the true value."""
    chance = np.array([[0.1, 0.5, 0.3, 0.8], [0.6, 0.2, 0.4, 0.1], [0.3, 0.3, 0.9, 0.2]])
    served = np.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25]])
    wanted = np.array([[0.1, 0.2, 0.2, 0.5], [0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.7, 0.1]])
    x = rng.integers(0, 3, n)
    a = (rng.random(n)[:, None] > np.cumsum(served[x], axis=1)).sum(axis=1)
    guess = np.full_like(chance, 0.7) * np.array([0.5, 1, 1.2, 0.1]) if wrong_model else chance
    logged = served[:, ::-1] if wrong_propensities else served
    log = Log(
        reward_N=(rng.random(n) < chance[x, a]).astype(float),
        served_N=logged[x, a],
        wanted_N=wanted[x, a],
        guess_N=guess[x, a],
        baseline_N=(wanted * guess).sum(axis=1)[x],
    )
    return log, float((wanted * chance).sum(axis=1).mean())


def bias_in_standard_errors(law, **wrong):
    rng = np.random.default_rng(3)
    error = []
    for _ in range(REPLICATIONS):
        log, truth = bandit(rng, **wrong)
        error.append(law.estimate(log).mean() - truth)
    return abs(np.mean(error)) / (np.std(error) / np.sqrt(REPLICATIONS))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_it_finds_the_truth_when_all_help_is_right(name):
    assert bias_in_standard_errors(ESTIMATORS[name]) < 3.5


@pytest.mark.parametrize("name", ESTIMATORS)
def test_it_survives_a_wrong_reward_model_or_is_known_not_to(name):
    law = ESTIMATORS[name]
    assert (bias_in_standard_errors(law, wrong_model=True) < 3.5) == law.survives_wrong_model


@pytest.mark.parametrize("name", ESTIMATORS)
def test_it_survives_wrong_propensities_or_is_known_not_to(name):
    law = ESTIMATORS[name]
    off = bias_in_standard_errors(law, wrong_propensities=True)
    assert (off < 3.5) == law.survives_wrong_propensities


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_same_log_gives_the_same_bytes_in_any_order(name, rng):
    log, _ = bandit(rng)
    order = rng.permutation(1000)
    columns = ("reward_N", "served_N", "wanted_N", "guess_N", "baseline_N")
    mixed = Log(*(getattr(log, column)[order] for column in columns))
    once, again = (ESTIMATORS[name].estimate(log) for _ in range(2))
    assert once.tobytes() == again.tobytes()
    np.testing.assert_allclose(ESTIMATORS[name].estimate(mixed), once[order], rtol=1e-12)


def test_dr_is_narrower_than_ips_when_the_model_is_right(rng):
    spread = {name: [] for name in ("ips", "dr")}
    for _ in range(REPLICATIONS):
        log, _ = bandit(rng)
        for name, means in spread.items():
            means.append(ESTIMATORS[name].estimate(log).mean())
    assert np.std(spread["dr"]) < 0.8 * np.std(spread["ips"])


def test_snips_stays_within_the_range_of_rewards_where_ips_leaves_it(rng):
    log, _ = bandit(rng, wrong_propensities=True, n=20)
    nothing, everything = (replace(log, reward_N=np.full(20, r)) for r in (0.0, 1.0))
    assert estimators.snips(nothing).mean() == 0.0
    assert estimators.snips(everything).mean() == pytest.approx(1.0, abs=1e-12)
    assert estimators.ips(everything).mean() > 1.0
    for _ in range(REPLICATIONS):
        log, _ = bandit(rng, n=20)
        assert 0.0 <= estimators.snips(log).mean() <= 1.0


def clustered_bandit(rng, *, own, level, n=1000):
    """Two clusters of two actions that differ by `own` within their cluster.

    The model is off by `level` everywhere, so right about the differences; None turns it round.
    """
    served_C, wanted_C = np.array([0.6, 0.2, 0.15, 0.05]), np.array([0.1, 0.1, 0.2, 0.6])
    chance_C = np.array([0.2, 0.2, 0.6, 0.6]) + own * np.array([-0.5, 0.5, -0.5, 0.5])
    guess_C = chance_C[::-1] if level is None else chance_C + level
    a = rng.choice(4, n, p=served_C)
    log = ClusterLog(
        reward_N=(rng.random(n) < chance_C[a]).astype(float),
        chosen_N=a,
        served_NC=np.tile(served_C, (n, 1)),
        wanted_NC=np.tile(wanted_C, (n, 1)),
        guess_NC=np.tile(guess_C, (n, 1)),
        cluster_NC=np.tile([0, 0, 1, 1], (n, 1)),
    )
    return log, float(wanted_C @ chance_C)


@pytest.mark.parametrize(
    ("estimate", "own", "level", "survives"),
    [
        (mips, 0.0, 0.0, True),
        (mips, 0.3, 0.0, False),
        (offcem, 0.3, 0.0, True),
        (offcem, 0.3, -0.4, True),
        (offcem, 0.3, None, False),
    ],
)
def test_clusters_find_the_truth_where_their_assumption_holds(estimate, own, level, survives):
    rng = np.random.default_rng(3)
    error = []
    for _ in range(REPLICATIONS):
        log, truth = clustered_bandit(rng, own=own, level=level)
        error.append(estimate(log).mean() - truth)
    off = abs(np.mean(error)) / (np.std(error) / np.sqrt(REPLICATIONS))
    assert (off < 3.5) == survives


LOGGER = SlatePolicy(temperature=1.0, epsilon=0.3, top_k=5)
NEWCOMER = SlatePolicy(temperature=0.7, epsilon=0.1, top_k=5)


@dataclass
class Slates:
    """A log of slates with the chances behind it."""

    log: Requests
    score_NC: Float64s
    chance_NLC: Float64s

    def newcomer(self):
        everything = np.ones(self.score_NC.shape, dtype=bool)
        return scored_replay(self.log, self.score_NC, everything, NEWCOMER)

    def paired(self, guess_NLC, cap):
        """Score of the newcomer over the policy that served."""
        everything = np.ones(self.score_NC.shape, dtype=bool)
        policies = self.newcomer(), logging_policy(self.log)
        found = paired_scores(self.log, policies, everything, guess_NLC, cap, 10.0)
        return Wager(found.score_N, found.floor)


def is_found(wager, alpha=0.05):
    """Whether a lift above 0 is found."""
    return log_wealth([wager], 0.0) > np.log(1 / alpha)


def slates(rng, score_C, n=1500, chance=None):
    """Two positions, five candidates, the logger is indifferent; the newcomer follows `score`."""
    chance_C = np.array([0.05, 0.1, 0.2, 0.3, 0.4]) if chance is None else np.full(5, chance)
    chance_NLC = np.broadcast_to(chance_C * np.array([[1.0], [0.6]]), (n, 2, 5))
    everything = np.ones((n, 5), dtype=bool)
    chosen_NL, p_NL, p_NLC = sample_slates(np.zeros((n, 5)), everything, LOGGER, 2, rng)
    click_NL = rng.random((n, 2)) < np.take_along_axis(chance_NLC, chosen_NL[:, :, None], 2)[..., 0]
    log = Requests(
        request_ids=None,
        event_us_N=np.arange(n),
        user_N=np.arange(n) % 50,
        user_ids=None,
        risk_N=np.ones(n),
        capacity_N=np.ones(n),
        candidate_NC=np.broadcast_to(np.arange(5), (n, 5)),
        chosen_NL=chosen_NL,
        served_NLC=p_NLC,
        propensity_NL=p_NL,
        reward_NL=click_NL.astype(float),
        dismissed_NL=np.zeros((n, 2)),
    )
    return Slates(log, np.broadcast_to(score_C, (n, 5)), chance_NLC)


def true_lift(score_C, chance=None):
    """By playing the newcomer against itself on its own log, many times."""
    rng = np.random.default_rng(8)
    world = slates(rng, score_C, 200_000, chance)
    everything = np.ones((200_000, 5), dtype=bool)
    chosen_NL, _, _ = sample_slates(world.score_NC, everything, NEWCOMER, 2, rng)
    picked = np.take_along_axis(world.chance_NLC, chosen_NL[:, :, None], 2)
    logged = np.take_along_axis(world.chance_NLC, world.log.chosen_NL[:, :, None], 2)
    return float(picked.sum(axis=(1, 2)).mean() - logged.sum(axis=(1, 2)).mean())


BETTER = np.array([0.0, 0.5, 1.0, 1.5, 2.0])


@pytest.mark.parametrize("model", ["right", "wrong", "none"])
def test_the_paired_score_of_slates_is_unbiased_whatever_the_model(model):
    rng = np.random.default_rng(4)
    lifts = []
    for _ in range(REPLICATIONS):
        world = slates(rng, BETTER, 400)
        guess = {"right": world.chance_NLC, "wrong": 1 - world.chance_NLC,
                 "none": np.zeros(world.chance_NLC.shape)}[model]  # fmt: skip
        lifts.append(world.paired(guess, 2.0).score_N.mean())
    stderr = np.std(lifts) / np.sqrt(REPLICATIONS)
    assert np.mean(lifts) == pytest.approx(true_lift(BETTER), abs=3.5 * stderr + 0.002)


def test_cascade_dr_is_unbiased_with_a_wrong_model():
    rng = np.random.default_rng(5)
    values = []
    for _ in range(REPLICATIONS):
        world = slates(rng, BETTER, 400)
        policy = world.newcomer()
        guess_NLC = 1 - world.chance_NLC
        shown = np.take_along_axis(guess_NLC, world.log.chosen_NL[:, :, None], 2)[..., 0]
        seen = SlateLog(world.log.reward_NL, policy.weight_NL, shown,
                        (policy.wanted_NLC * guess_NLC).sum(axis=2))  # fmt: skip
        values.append(estimators.cascade_dr(seen).mean() - world.log.reward_NL.sum(axis=1).mean())
    stderr = np.std(values) / np.sqrt(REPLICATIONS)
    assert np.mean(values) == pytest.approx(true_lift(BETTER), abs=3.5 * stderr + 0.002)


@pytest.mark.parametrize("name", estimators.SLATE_ESTIMATORS)
def test_an_estimator_of_slates_finds_the_truth_when_all_help_is_right(name):
    """A new one inherits this by its line in `SLATE_ESTIMATORS`."""
    rng = np.random.default_rng(5)
    values = []
    for _ in range(REPLICATIONS):
        world = slates(rng, BETTER, 400)
        seen = slate_log(
            world.log, world.newcomer(), world.log.reward_NL, np.array(world.chance_NLC)
        )
        value_N = estimators.SLATE_ESTIMATORS[name](seen, 1e9)
        values.append(value_N.mean() - world.log.reward_NL.sum(axis=1).mean())
    stderr = np.std(values) / np.sqrt(REPLICATIONS)
    assert np.mean(values) == pytest.approx(true_lift(BETTER), abs=3.5 * stderr + 0.002)


def test_independent_positions_are_unbiased_where_no_item_helps_another():
    pairs = np.array([[b, (b + 1) % 5] for b in range(5)])
    everything = np.ones((5, 5), dtype=bool)
    given_BLC = slate_propensities(np.tile(BETTER, (5, 1)), everything, NEWCOMER, pairs)[1]
    first_C = given_BLC[0, 0]
    second_C = first_C @ given_BLC[:, 1]
    rng = np.random.default_rng(5)
    lifts = []
    for _ in range(REPLICATIONS):
        log = slates(rng, BETTER, 400).log
        wanted_NL = np.column_stack([first_C[log.chosen_NL[:, 0]], second_C[log.chosen_NL[:, 1]]])
        value_N = estimators.iips(log.reward_NL, np.full((400, 2), 0.2), wanted_NL)
        lifts.append(value_N.mean() - log.reward_NL.sum(axis=1).mean())
    stderr = np.std(lifts) / np.sqrt(REPLICATIONS)
    assert np.mean(lifts) == pytest.approx(true_lift(BETTER), abs=3.5 * stderr + 0.002)


def test_the_sequence_never_crosses_more_often_than_alpha_when_nothing_is_better():
    rng = np.random.default_rng(6)
    crossed = 0
    for _ in range(REPLICATIONS):
        world = slates(rng, BETTER, 1500, chance=0.3)
        wager = world.paired(world.chance_NLC, 5.0)
        crossed += any(is_found(wager.until(n)) for n in range(100, 1501, 100))
    assert crossed <= 0.05 * REPLICATIONS


def test_a_model_twice_too_hopeful_does_not_promote_a_worse_policy():
    rng = np.random.default_rng(7)
    assert true_lift(-BETTER) < -0.05
    for _ in range(40):
        world = slates(rng, -BETTER, 3000)
        guess_NLC = np.minimum(2 * world.chance_NLC, 1.0)
        assert not is_found(world.paired(guess_NLC, 10.0))


def test_a_policy_against_itself_is_exactly_nothing_on_every_request(rng):
    world = slates(rng, BETTER)
    guess_NLC = np.minimum(2 * world.chance_NLC, 1.0)
    everything = np.ones(world.score_NC.shape, dtype=bool)
    for policy in (world.newcomer(), logging_policy(world.log)):
        paired = paired_scores(world.log, (policy, policy), everything, guess_NLC, 5.0, 1.0)
        assert (paired.score_N == 0).all()
