"""Rules: what one issuer may have, what is alike, and in which order they give way."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tessera.serve.params import ServeParams
from tessera.serve.rules.choosing import Listed, choose
from tessera.serve.rules.closing import Closing, nothing_closed, opened_for
from tessera.serve.rules.diversity import marginal
from tessera.serve.rules.opening import open_rules
from tessera.shared.policies.slate import SlatePolicy, sample_slates

POLICY = SlatePolicy(0.5, 0.2, 3)
ISSUERS = ["a", "a", "a", "b", "b", None, None, None]


def items(issuers=ISSUERS):
    nothing = [None] * len(issuers)
    return pa.table({"category": nothing, "sector": nothing, "issuer": issuers})


def listed(scores, explores=()):
    rows = np.arange(len(scores))
    return Listed(rows, np.array(scores, float), np.isin(rows, list(explores)))


def chosen(params, asked, positions=2, table=None):
    rules = open_rules(items() if table is None else table, params, POLICY)
    kept_C, removed, is_filled = choose(rules, asked, positions)
    return np.flatnonzero(kept_C).tolist(), removed, is_filled


def test_as_shipped_nothing_is_left_out():
    assert chosen(ServeParams(), listed([1.0] * 8)) == (list(range(8)), {}, False)


@pytest.mark.parametrize(("per_issuer", "kept"), [(1, [1, 3, 5, 6, 7]), (2, [1, 2, 3, 4, 5, 6, 7])])
def test_the_best_of_each_issuer_stay_and_an_untold_issuer_has_no_limit(per_issuer, kept):
    asked = listed([1, 3, 2, 5, 4, 0, 0, 0])
    params = ServeParams(per_issuer=per_issuer)
    assert chosen(params, asked) == (kept, {"issuer": 8 - len(kept)}, False)


def test_what_exploration_needs_stays_before_what_scores_better():
    asked = listed([1, 3, 2, 5, 4, 0, 0, 0], explores=[0])
    assert chosen(ServeParams(per_issuer=1), asked)[0] == [0, 3, 5, 6, 7]


def test_no_slate_that_is_drawn_has_more_of_an_issuer():
    asked = listed([9, 8, 7, 6, 5, 4, 3, 2])
    kept, _, _ = chosen(ServeParams(per_issuer=1), asked, positions=3)
    score_1C = asked.score_C[None, kept]
    for seed in range(50):
        rng = np.random.default_rng(seed)
        slate, _, _ = sample_slates(score_1C, np.ones_like(score_1C, bool), POLICY, 3, rng)
        told = [ISSUERS[kept[one]] for one in slate[0] if ISSUERS[kept[one]]]
        assert len(set(told)) == len(told)


def test_a_limit_gives_back_the_best_where_a_slate_would_not_be_full():
    one_issuer = items(["a"] * 8)
    kept, removed, is_filled = chosen(
        ServeParams(per_issuer=1), listed([1, 3, 2, 5, 4, 0, 0, 9]), 4, one_issuer
    )
    assert (kept, removed, is_filled) == ([1, 3, 4, 7], {"issuer": 4}, True)


def test_diversity_gives_way_before_the_limit():
    table = pa.table({"category": ["x"] * 8, "sector": ["y"] * 8, "issuer": ["a"] * 4 + ["b"] * 4})
    params = ServeParams(per_issuer=2, diversity=50.0)
    kept, removed, _ = chosen(params, listed([8, 7, 6, 5, 4, 3, 2, 1]), 4, table)
    assert (kept, removed) == ([0, 1, 4, 5], {"issuer": 4})


def greedy(worth, kinds, weight, most):
    """Maximal marginal relevance, one pair after the other."""
    taken = []
    while len(taken) < min(most, len(worth)):

        def left(one):
            alike = [
                np.mean([a == b != -1 for a, b in zip(kinds[:, one], kinds[:, other], strict=True)])
                for other in taken
            ]
            return worth[one] - weight * max(alike, default=0)

        taken.append(max((n for n in range(len(worth)) if n not in taken), key=left))
    return taken


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("weight", [0.0, 0.7, 30.0])
def test_what_is_taken_is_what_a_loop_takes(seed, weight):
    rng = np.random.default_rng(seed)
    worth, kinds = rng.normal(size=20), rng.integers(-1, 3, (3, 20))
    assert marginal(worth, kinds, weight, 9).tolist() == greedy(worth, kinds, weight, 9)


def test_diversity_keeps_as_many_as_the_policy_prefers_and_all_that_explores():
    table = pa.table({"category": ["x"] * 7 + ["y"], "sector": [None] * 8, "issuer": ["i"] * 8})
    asked = listed([8, 7, 6, 5, 4, 3, 7.9, 0], explores=[5])
    near = chosen(ServeParams(diversity=1e-6), asked, 2, table)
    assert near == ([0, 1, 2, 5, 6], {"diversity": 3}, False), "top_k 3, one more, and item 5"
    far = chosen(ServeParams(diversity=100.0), asked, 2, table)
    assert far == ([0, 1, 5, 6, 7], {"diversity": 3}, False), "7 scores least and is unlike most"


def test_what_was_capped_gives_way_as_a_whole_and_nothing_else_does():
    firm = [Closing("risk", np.array([True, True, False, False, False])),
            Closing("dismissed", np.array([2]))]  # fmt: skip
    capped = np.array([3, 0])
    closed = opened_for(1, nothing_closed(5), firm, capped)
    assert closed.open_I.tolist() == [False, False, False, False, True]
    assert closed.removed == {"risk": 2, "dismissed": 1, "capped": 1}
    filled = opened_for(2, nothing_closed(5), firm, capped)
    assert (filled.open_I.tolist(), filled.is_filled) == ([False] * 3 + [True] * 2, True)
    few = opened_for(9, nothing_closed(5), firm, np.array([0, 2]))
    assert not few.is_filled, "nothing that suits was capped, so nothing gave way"
