"""What every rule must do.  A new one inherits the suite by an entry in RULES."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tessera.serve.params import ServeParams
from tessera.serve.rules.choosing import Listed, choose
from tessera.serve.rules.closing import (
    CAPPED,
    Closing,
    nothing_closed,
    off_sale,
    opened,
    opened_for,
)
from tessera.serve.rules.opening import open_rules
from tessera.shared.policies.slate import SlatePolicy

ITEMS = 60
POLICY = SlatePolicy(0.5, 0.2, 4)
RULES = {
    "issuer": ServeParams(per_issuer=1),
    "diversity": ServeParams(diversity=2.0),
    "both": ServeParams(per_issuer=2, diversity=1.0),
    "none": ServeParams(),
}


def catalogue(rng):
    def some(count):
        return [None if one == 0 else f"x{one}" for one in rng.integers(0, count, ITEMS)]

    return pa.table({"category": some(4), "sector": some(6), "issuer": some(9)})


def listed(rng, count):
    row_C = rng.permutation(ITEMS)[:count]
    score_C = np.round(rng.normal(size=count), 1)
    return Listed(row_C, score_C, rng.random(count) < 0.3)


@pytest.fixture(params=range(12))
def rng(request):
    return np.random.default_rng(request.param)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("count", [0, 1, 5, 50])
@pytest.mark.parametrize("positions", [1, 3, 12])
def test_a_rule_only_leaves_out_and_says_how_many(rng, name, count, positions):
    asked = listed(rng, count)
    before = [one.copy() for one in asked]
    rules = open_rules(catalogue(rng), RULES[name], POLICY)
    kept_C, removed, is_filled = choose(rules, asked, positions)
    assert kept_C.shape == (count,)
    assert kept_C.dtype == np.bool_
    assert sum(removed.values()) == count - kept_C.sum()
    assert set(removed) <= {rule.name for rule in rules}
    assert min(removed.values(), default=1) > 0
    for one, was in zip(asked, before, strict=True):
        np.testing.assert_array_equal(one, was)
    assert kept_C.sum() >= min(positions, count), "a slate is left, whatever the rules"
    if is_filled:
        assert kept_C.sum() == min(positions, count)
    again = choose(rules, asked, positions)
    np.testing.assert_array_equal(kept_C, again.kept_C)


@pytest.mark.parametrize("name", RULES)
def test_what_a_rule_says_does_not_hang_on_the_order_of_the_candidates(rng, name):
    asked = listed(rng, 40)
    asked = asked._replace(score_C=rng.normal(size=40))
    order_C = rng.permutation(40)
    rules = open_rules(catalogue(rng), RULES[name], POLICY)
    kept_C = choose(rules, asked, 3).kept_C
    turned = choose(rules, Listed(*(one[order_C] for one in asked)), 3).kept_C
    np.testing.assert_array_equal(turned, kept_C[order_C])


@pytest.mark.parametrize("positions", [0, 5, ITEMS])
def test_closed_is_closed_and_each_item_counts_once(rng, positions):
    from_I, to_I = rng.integers(0, 9, ITEMS), rng.integers(3, 12, ITEMS)
    firm = [
        off_sale(from_I, to_I, 5),
        Closing("risk", rng.random(ITEMS) < 0.4),
        Closing("held", rng.permutation(ITEMS)[:7]),
    ]
    capped_N = rng.permutation(ITEMS)[:20]
    every, found = (
        opened(nothing_closed(ITEMS), firm),
        opened_for(positions, nothing_closed(ITEMS), firm, capped_N),
    )
    assert not every.open_I[(from_I > 5) | (to_I <= 5)].any()
    assert not every.open_I[firm[1].closed].any()
    assert not every.open_I[firm[2].closed].any()
    assert sum(every.removed.values()) == ITEMS - every.open_I.sum()
    assert sum(found.removed.values()) == ITEMS - found.open_I.sum()
    assert not (found.open_I & ~every.open_I).any(), "what gives way opens nothing that is closed"
    was_open = every.open_I[capped_N].sum()
    assert found.is_filled == (was_open > 0 and every.open_I.sum() - was_open < positions)
    assert found.is_filled or not found.open_I[capped_N].any()
    assert (CAPPED in found.removed) == (not found.is_filled and was_open > 0)
