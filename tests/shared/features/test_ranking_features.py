"""A ranking feature is what was known strictly before the request, computed by hand."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from tessera.contracts.arrow import DAY_US
from tessera.contracts.tables import ACTIONS
from tessera.model.params import HstuParams
from tessera.shared.features.facts import NOBODY, Facts, Queries, Trials
from tessera.shared.features.links import EDGE_KINDS, held
from tessera.shared.features.prices import PriceHistory
from tessera.shared.features.ranking import ranking_features

VIEW, CLICK, BUY, SELL, DISMISS, RATE = range(len(ACTIONS))
EVERY = HstuParams().features


def ints(*values):
    return np.array(values, np.int64)


def edges(**weights):
    found = {kind: csr_matrix((5, 5)) for kind in EDGE_KINDS}
    for kind, (source, target, weight) in weights.items():
        found[kind] = csr_matrix(([weight], ([source], [target])), shape=(5, 5))
    return found


@pytest.fixture
def facts():
    """Return two investors, four items; item 2 is bought on day 1 and sold on day 6."""
    rows = [
        (0, 1, CLICK, 0), (0, 2, BUY, 1), (0, 3, DISMISS, 3), (0, 2, SELL, 6), (0, 4, BUY, 9),
        (1, 3, BUY, 2),
    ]  # fmt: skip
    user, item, action, day = (ints(*column) for column in zip(*rows, strict=True))
    return Facts(
        user_E=user,
        item_E=item,
        action_E=action,
        moment_E=day * DAY_US,
        user_U=ints(0, 0, 1),
        since_U=ints(0, 5, 0) * DAY_US,
        risk_U=ints(2, 4, 0),
        risk_I=ints(0, 1, 3, 4, 2),
        category_I=ints(NOBODY, 0, 0, 1, NOBODY),
        born_I=np.where(ints(1, 0, 0, 0, 0) > 0, NOBODY, ints(0, 0, 0, 2, 0) * DAY_US),
        code_IL=np.array([[0, 0], [1, 1], [1, 2], [2, 1], [1, 1]]),
        closes=PriceHistory(ints(1, 1, 1, 1), ints(0, 1, 2, 3), np.exp([0.0, 1.0, 0.0, 5.0])),
        edges=edges(causal=(2, 3, 0.5), transition=(4, 1, 0.25)),
        trials=Trials(
            ints(0, 0, 1), ints(1, 6, 1) * DAY_US, ints(1, 1, 3), np.array([0.1, 0.3, -0.2])
        ),
    )


def ask(facts, user, day, item, groups=EVERY):
    asked = Queries(ints(user), ints(day) * DAY_US, ints(0), ints(item))
    names, found = ranking_features(facts, asked, groups)
    return dict(zip(names, found[0].astype(float), strict=True))


def test_an_event_at_the_very_moment_of_the_request_is_not_known_yet(facts):
    assert ask(facts, 0, 1, 2)["user_buys"] == 0.0
    assert ask(facts, 0, 2, 2)["user_buys"] == pytest.approx(np.log(2))
    assert ask(facts, 0, 1, 2)["pair_buys"] == 0.0
    assert ask(facts, 0, 2, 2)["pair_buys"] == pytest.approx(np.log(2))


def test_the_risk_class_is_that_of_the_version_known_at_the_request(facts):
    assert [ask(facts, 0, day, 1)["user_risk"] for day in (4, 5, 6)] == [2.0, 4.0, 4.0]
    assert ask(facts, 0, 4, 3)["item_risk_gap"] == 2.0
    assert np.isnan(ask(facts, 1, 4, 3)["user_risk"])


def test_what_is_sold_at_the_very_moment_of_its_purchase_counts_as_held(facts):
    """Which came first is unknown; lists leave the item out, so features must know it as held."""
    moment_E = facts.moment_E.copy()
    moment_E[facts.action_E == SELL] = DAY_US  # that of the purchase of item 2
    tied = replace(facts, moment_E=moment_E)
    assert held(tied, ints(0), ints(8) * DAY_US)[0, 0] == 2
    assert held(facts, ints(0), ints(8) * DAY_US)[0, 0] == 0, "sold on day 6"


def test_an_unknown_investor_has_missing_flags_and_no_counts(facts):
    found = ask(facts, NOBODY, 8, 2)
    assert found["user_missing"] == found["held_missing"] == 1.0
    assert np.isnan(found["user_tenure"])
    assert np.isnan(found["user_risk"])
    counts = [value for name, value in found.items() if name.startswith(("user_b", "pair_", "sid"))]
    assert counts == [0.0] * len(counts)


def test_tenure_recency_and_age_are_days_before_the_request(facts):
    found = ask(facts, 0, 5, 3)
    assert found["user_tenure"] == pytest.approx(np.log1p(5))
    assert found["user_recency"] == pytest.approx(np.log1p(2))
    assert found["item_age"] == pytest.approx(np.log1p(3))


def test_popularity_counts_all_and_the_last_thirty_days(facts):
    assert ask(facts, 0, 2, 3)["item_bought"] == 0.0
    early, late = ask(facts, 0, 3, 3), ask(facts, 0, 60, 3)
    assert early["item_bought"] == early["item_bought_recent"] == pytest.approx(np.log(2))
    assert (late["item_bought"], late["item_bought_recent"]) == (pytest.approx(np.log(2)), 0.0)


def test_category_and_code_shares_are_of_what_was_liked_before(facts):
    found = ask(facts, 0, 5, 1)
    assert found["category_liked"] == 1.0
    assert found["sid_1"] == 1.0
    assert found["sid_2"] == 0.5
    assert ask(facts, 0, 5, 3)["category_dismissed"] == 1.0
    assert ask(facts, 0, 5, 4)["category_liked"] == 0.0


def test_what_was_sold_before_the_request_is_not_held(facts):
    users, moments = ints(0, 0, 0, 0, 1), ints(1, 2, 7, 10, 10) * DAY_US
    assert [sorted(row[row > 0]) for row in held(facts, users, moments)] == [[], [2], [], [4], [3]]


def test_edge_weights_lead_from_held_items_to_the_candidate(facts):
    assert ask(facts, 0, 2, 3)["causal_best"] == 0.5
    assert ask(facts, 0, 7, 3)["causal_best"] == 0.0
    assert ask(facts, 0, 10, 1)["transition_sum"] == 0.25
    assert ask(facts, 0, 2, 2)["causal_sum"] == 0.0


def test_momentum_and_volatility_end_the_day_before(facts):
    found = ask(facts, 0, 3, 1)
    assert found["volatility"] == pytest.approx(1.0)
    assert found["price_missing"] == 0.0
    other = ask(facts, 0, 3, 2)
    assert other["price_missing"] == other["volatility_missing"] == 1.0
    assert np.isnan(other["volatility"])


def test_a_group_that_is_left_out_leaves_no_column(facts):
    every = set(ask(facts, 0, 5, 1))
    for group in EVERY:
        rest = set(ask(facts, 0, 5, 1, tuple(name for name in EVERY if name != group)))
        gone = set(ask(facts, 0, 5, 1, (group,)))
        assert rest | gone == every
        assert not rest & gone


def random_market(rng, events=400):
    user, item = rng.integers(0, 6, events), rng.integers(1, 9, events)
    return Facts(
        user_E=user,
        item_E=item,
        action_E=rng.integers(0, len(ACTIONS), events),
        moment_E=rng.integers(0, 100 * DAY_US, events),
        user_U=np.repeat(np.arange(6), 3),
        since_U=rng.integers(0, 100 * DAY_US, 18),
        risk_U=rng.integers(0, 5, 18),
        risk_I=rng.integers(0, 5, 9),
        category_I=rng.integers(-1, 3, 9),
        born_I=rng.integers(0, 50 * DAY_US, 9),
        code_IL=rng.integers(0, 3, (9, 2)),
        closes=PriceHistory(
            np.repeat(np.arange(9), 100), np.tile(np.arange(100), 9), rng.random(900) + 0.5
        ),
        edges={kind: csr_matrix(rng.random((9, 9))) for kind in EDGE_KINDS},
        trials=Trials(
            rng.integers(0, 6, 40),
            rng.integers(0, 50 * DAY_US, 40),
            rng.integers(1, 9, 40),
            rng.normal(size=40),
        ),
    )


def test_nothing_after_the_request_changes_a_feature(rng):
    facts, now = random_market(rng), 60 * DAY_US
    asked = Queries(
        np.arange(6), np.full(6, now), np.repeat(np.arange(6), 8), np.tile(np.arange(1, 9), 6)
    )
    _, before = ranking_features(facts, asked, EVERY)
    late, late_price = facts.moment_E >= now, facts.closes.day_P >= 60
    changed = {
        name: np.where(late, rng.permutation(getattr(facts, name)), getattr(facts, name))
        for name in ("user_E", "item_E", "action_E")
    }
    closes = replace(facts.closes, close_P=np.where(late_price, 99.0, facts.closes.close_P))
    risk = np.where(facts.since_U > now, 5 - facts.risk_U, facts.risk_U)
    other = replace(facts, closes=closes, risk_U=risk, **changed)
    _, after = ranking_features(other, asked, EVERY)
    np.testing.assert_array_equal(before, after)
    sooner = replace(facts, moment_E=np.where(late, now - 1, facts.moment_E))
    assert not np.array_equal(before, ranking_features(sooner, asked, EVERY)[1], equal_nan=True)


def test_the_order_of_events_does_not_matter(rng):
    facts = random_market(rng)
    asked = Queries(np.arange(6), np.full(6, 70 * DAY_US), np.arange(6), np.arange(1, 7))
    order = rng.permutation(len(facts.user_E))
    shuffled = {
        field.name: getattr(facts, field.name)[order]
        for field in fields(facts) if field.name.endswith("_E")
    }  # fmt: skip
    for group in ("user", "item", "pair", "sid"):
        one, two = (
            ranking_features(which, asked, (group,))[1]
            for which in (facts, replace(facts, **shuffled))
        )
        np.testing.assert_array_equal(one, two)


def test_a_batch_says_what_single_requests_say(rng):
    facts = random_market(rng)
    moments = rng.integers(40 * DAY_US, 100 * DAY_US, 6)
    many = Queries(np.arange(6), moments, np.repeat(np.arange(6), 2), rng.integers(1, 9, 12))
    _, together = ranking_features(facts, many, EVERY)
    for row in range(12):
        who = many.request_Q[row]
        one = Queries(ints(who), moments[[who]], ints(0), many.item_Q[[row]])
        np.testing.assert_array_equal(ranking_features(facts, one, EVERY)[1][0], together[row])


def test_the_effect_of_showing_is_told_for_the_item_and_the_class_of_the_investor(facts):
    found = ask(facts, 0, 7, 1)
    assert found["cate_item"] == pytest.approx(0.2)
    assert found["cate_item_risk"] == pytest.approx((0.3 + 50 * 0.2) / 51), "class 4 by day 7"
    early = ask(facts, 0, 2, 1)
    assert early["cate_item_risk"] == pytest.approx((0.1 + 50 * 0.2) / 51), "class 2 on day 2"
    assert early["cate_missing"] == 0.0
    never = ask(facts, 0, 7, 2)
    assert np.isnan(never["cate_item"])
    assert never["cate_missing"] == 1.0
