"""Which pairs are worth an estimate."""

import numpy as np
from scipy import sparse

from tessera.stages.causal.pairs import Pairs, both_ways, supported_pairs
from tessera.stages.causal.panel import Trial


def trial(held, gained):
    everybody = np.ones(len(held), bool)
    held, gained = (sparse.csr_array(np.array(part, float)) for part in (held, gained))
    return Trial(held, gained, everybody, np.zeros((len(everybody), 0)))


def test_support_counts_investors_in_order_and_the_limit_keeps_the_largest():
    first = trial([[1, 0, 0], [1, 0, 0]], [[0, 1, 0], [0, 1, 0]])
    second = trial([[1, 1, 0], [1, 1, 0]], [[0, 0, 1], [0, 0, 0]])
    pairs = supported_pairs([first, second], 1, 10)
    found = list(zip(pairs.cause_N, pairs.effect_N, pairs.support_N, strict=True))
    assert found == [(0, 1, 2), (0, 2, 1), (1, 2, 1)]
    assert supported_pairs([first, second], 1, 1).support_N.tolist() == [2]
    assert len(supported_pairs([first, second], 2, 10).cause_N) == 1


def test_every_pair_is_asked_in_both_directions_once():
    cause, effect = np.array([0, 1, 1]), np.array([1, 0, 2])
    asked = both_ways(Pairs(cause, effect, np.array([5, 4, 3])))
    assert list(zip(asked.cause_B.tolist(), asked.effect_B.tolist(), strict=True)) == [
        (0, 1), (1, 0), (1, 2), (2, 1),
    ]  # fmt: skip
    assert asked.back_N.tolist() == [1, 0, 3]
    assert asked.once_N.tolist() == [True, False, True]
