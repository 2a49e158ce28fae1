"""A batch errs no more often than one candidate: seven policies of no lift beside one that has it.

The scores take small steps up and fall to their floor now and then, and whoever is ahead at any
moment passes: the hardest null for the bettor.
"""

import numpy as np
import pytest

from tessera.offpolicy.holm import levels
from tessera.offpolicy.sequences import Wager, log_wealth, stakes

ALPHA, FLOOR, FALLS = 0.05, 1.0, 0.3
NULLS, REQUESTS, REPLICATIONS = 7, 1000, 600


def p_value(excess_N):
    """One over the most that a bettor against "the mean is at most 0" ever had."""
    stake_J = stakes(FLOOR)
    wealth_JN = np.cumsum(np.log1p(stake_J[:, None] * excess_N), axis=1)
    return np.exp(np.log(len(stake_J)) - np.logaddexp.reduce(wealth_JN).max())


def test_the_wealth_at_the_end_is_that_of_the_gate(rng):
    excess_N = rng.uniform(0, 1, 50)  # it only rises
    wealth = np.exp(log_wealth([Wager(excess_N, FLOOR)], 0.0))
    assert p_value(excess_N) == pytest.approx(1 / wealth)


def by_holm(excess_KN):
    """Policies that pass at the level that the batch leaves them."""
    p_K = [p_value(excess_N) for excess_N in excess_KN]
    found = levels(lambda k, level: p_K[k] < level, len(p_K), ALPHA)
    return [p < level for p, level in zip(p_K, found, strict=True)]


def each_for_itself(excess_KN):
    return [p_value(excess_N) < ALPHA for excess_N in excess_KN]


@pytest.fixture(scope="module")
def logs():
    rng = np.random.default_rng(0)
    shape = (REPLICATIONS, NULLS + 1, REQUESTS)
    excess_RKN = np.where(rng.random(shape) < FALLS, -FLOOR, FLOOR * FALLS / (1 - FALLS))
    excess_RKN[:, NULLS] += 0.3
    return excess_RKN


def passing(rule, logs):
    passed_RK = np.array([rule(excess_KN) for excess_KN in logs])
    return passed_RK[:, :NULLS].any(axis=1).mean(), passed_RK[:, NULLS].mean()


def test_a_batch_promotes_wrongly_no_more_often_than_alpha(logs):
    wrong, right = passing(by_holm, logs)
    assert 0.01 < wrong <= ALPHA
    assert right > 0.99, "which leaves the others the loosest levels that there are"


def test_the_best_of_several_at_alpha_each_does(logs):
    wrong, _ = passing(each_for_itself, logs)
    assert wrong > 1.5 * ALPHA
