"""Trials from the log: weights undo the policy, purchases count inside the window only."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from tessera.stages.uplift.curves import Arms, ate
from tessera.stages.uplift.params import UpliftParams
from tessera.stages.uplift.trials import Period, Sources, periods, trials_in


def trials(market, window_days=0.04, size=5000):
    tables = market.sources()
    sources = Sources(tables["events"], tables["exposures"], tables["users"], tables["items"])
    period = Period(market.split.validation_from - timedelta(days=1), None, market.split.cut)
    return trials_in(sources, period, size, UpliftParams(window_days=window_days))


def test_weights_make_both_arms_stand_for_everybody(market):
    found = trials(market())
    assert len(found) == 4000 * 5
    for arm_R in (found.treated_R, ~found.treated_R):
        assert (found.weight_R * arm_R).mean() == pytest.approx(1.0, abs=0.05)


def test_what_was_shown_further_down_is_in_neither_arm(market):
    found = trials(market())
    shown_R = found.rows["shown"].to_numpy()
    lower_R = shown_R & ~found.treated_R
    assert lower_R.sum() == 4000
    assert not found.weight_R[lower_R].any()


def test_the_weighted_difference_is_the_planted_effect(market):
    found = trials(market())
    used_R = found.weight_R > 0
    arms = Arms(found.treated_R[used_R], found.weight_R[used_R], found.bought_R[used_R])
    assert ate(arms) == pytest.approx(0.25, abs=0.03)


def test_the_propensity_says_how_often_a_candidate_is_at_the_top_and_nothing_of_what_was(market):
    found = trials(market())
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.0)):
        there_R = (found.chance_R > low) & (found.chance_R <= high)
        chance_R = found.chance_R[there_R]
        gap = found.treated_R[there_R].mean() - chance_R.mean()
        assert abs(gap) < 4 * np.sqrt((chance_R * (1 - chance_R)).sum()) / there_R.sum()
    assert found.chance_R[found.treated_R] == pytest.approx(1 / found.weight_R[found.treated_R])


def test_purchases_outside_the_window_do_not_count(market):
    made = market(300)
    assert trials(made, window_days=0.04).bought_R.sum() > 0
    assert trials(made, window_days=0.0004).bought_R.sum() == 0
    before = pa.compute.subtract(made.tables["events"]["event_ts"], pa.scalar(timedelta(minutes=6)))
    made.tables["events"] = made.tables["events"].set_column(4, "event_ts", before)
    assert trials(made, window_days=0.04).bought_R.sum() < 5


def test_features_know_nothing_after_the_period_begins(market):
    made = market(600)
    tables = made.sources()
    sources = Sources(tables["events"], tables["exposures"], tables["users"], tables["items"])
    period = Period(made.split.cut, None, made.split.cut)
    before = trials_in(sources, period, 600, UpliftParams(window_days=0.04))
    events = made.tables["events"]
    past = events.filter(pa.compute.less_equal(events["event_ts"], pa.scalar(made.split.cut)))
    users = made.tables["users"]
    later = users.set_column(
        1,
        users.schema.field(1),
        pa.array(
            [made.split.test_until + timedelta(days=1)] * len(users), users.schema.field(1).type
        ),
    )
    later = later.set_column(4, users.schema.field(4), pa.array(["old"] * len(users)))
    made.tables |= {"events": past, "users": pa.concat_tables([users, later])}
    tables = made.sources()
    sources = Sources(tables["events"], tables["exposures"], tables["users"], tables["items"])
    after = trials_in(sources, period, 600, UpliftParams(window_days=0.04))
    np.testing.assert_array_equal(before.feature_RF, after.feature_RF)
    assert before.bought_R.sum() > after.bought_R.sum() == 0


def test_what_is_learnt_from_ends_one_window_before_the_cut(market):
    made = market(600)
    tables = made.sources()
    sources = Sources(tables["events"], tables["exposures"], tables["users"], tables["items"])
    found = periods(sources, made.split.cut, 1.0)
    assert found.learn.until == made.split.cut - timedelta(hours=24)
    assert found.learn.since < found.learn.until < found.measure.since == made.split.cut
