"""A batch errs no more often than one candidate: three policies of no lift beside one that has it.

The scores take one step up nearly always and fall to their floor now and then, where the bound of
Waudby-Smith et al. loses next to nothing: on kinder scores even the best of four would keep alpha.
"""

import numpy as np
import pytest

from tessera.ope.bounds import confidence_sequence
from tessera.ope.holm import Level, levels

ALPHA, FLOOR, FALLS = 0.05, 1.0, 0.1
NULLS, REQUESTS, REPLICATIONS = 3, 1000, 600


def lower(excess_N, level):
    return confidence_sequence(excess_N, FLOOR, level.alpha, level.tuned_for)[-1]


def by_holm(excess_KN):
    """Policies whose bound lies above 0 at the level that the batch leaves them."""
    found = levels(lambda k, level: lower(excess_KN[k], level), len(excess_KN), ALPHA, 0.0)
    return [lower(excess_N, level) > 0 for excess_N, level in zip(excess_KN, found, strict=True)]


def each_for_itself(excess_KN):
    return [lower(excess_N, Level(ALPHA, ALPHA)) > 0 for excess_N in excess_KN]


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
