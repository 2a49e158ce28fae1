"""Each measure of a day, by numbers that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tessera.stages.daily.levels import calibrated, happened, priced, shown
from tessera.stages.daily.outcomes import answered, calibration_error
from tessera.stages.daily.units import ratio
from tests.stages.daily.conftest import frames

TWO = [{"user": 0}, {"user": 1}]


def of(found, series, name="all"):
    return found[series, name].value


def test_popularity_is_measured_by_position():
    rows = [
        {"slate": 0, "item": 0, "holders": 0.5, "percentile": 0.0, "unsuitable": True},
        {"slate": 0, "item": 1, "holders": 0.25, "percentile": 0.03},
        {"slate": 1, "item": 0, "holders": 0.5, "percentile": 0.0},
        {"slate": 1, "item": 2, "holders": 0.125, "percentile": 0.6, "tail": True},
    ]
    found = shown(frames(TWO, rows))
    assert of(found, "average_popularity") == pytest.approx(1.375 / 4)
    assert of(found, "top_1_share") == 0.5
    assert of(found, "top_5_share") == 0.75
    assert of(found, "tail_share") == 0.25
    assert of(found, "novelty") == pytest.approx((1 + 2 + 1 + 3) / 4)
    assert of(found, "unsuitable_share") == 0.25
    assert of(found, "top_item_share") == 0.5
    assert of(found, "coverage") == 0.75  # three of four items
    assert of(found, "gini") == pytest.approx(0.375)  # 0, 1, 1, 2 of four


def test_what_nobody_knows_of_an_item_counts_in_no_share():
    rows = [{"slate": 0, "item": 0, "holders": 0.5, "percentile": 0.0}, {"slate": 1, "item": 3}]
    found = shown(frames(TWO, rows))
    assert of(found, "top_1_share") == 1.0
    assert found["average_popularity", "all"].rows == 1


def test_diversity_is_the_share_of_pairs_of_a_slate_that_are_unlike():
    rows = [{"slate": 0, "item": 0, "category": 0}, {"slate": 0, "item": 1, "category": 1},
            {"slate": 1, "item": 0, "category": 2},
            {"slate": 1, "item": 2, "category": 2}]  # fmt: skip
    assert of(shown(frames(TWO, rows)), "diversity") == 0.5


def test_miscalibration_is_the_divergence_from_what_is_held():
    taste = np.full((12, 3), np.nan)
    taste[0] = (0.5, 0.5, 0.0)
    rows = [{"slate": 0, "item": 0, "category": 0}, {"slate": 1, "item": 0, "category": 2}]
    found = shown(frames(TWO, rows, taste_UK=taste))
    near = 0.99 * np.array([1.0, 0.0]) + 0.01 * 0.5
    assert of(found, "miscalibration") == pytest.approx(0.5 * np.log(0.5 / near).sum())
    assert found["miscalibration", "all"].investors == 1


def test_issuers_are_held_against_what_is_acquired():
    rows = [{"slate": 0, "item": 0, "issuer": 0}, {"slate": 1, "item": 1, "issuer": 0}]
    found = shown(frames(TWO, rows, merit_J=np.array([0.25, 0.75])))
    assert of(found, "issuer_gap") == 0.75


def test_amplification_is_served_over_consumed():
    rows = [{"slate": 0, "item": 0, "holders": 0.6, "percentile": 0.0}]
    events = [{"user": 0, "item": 1, "holders": 0.2}, {"user": 1, "item": 2, "holders": 0.2},
              {"user": 1, "item": 3, "holders": 0.9, "action": "view"}]  # fmt: skip
    assert of(happened(frames(TWO, rows, events), ("buy",)), "amplification") == pytest.approx(3.0)


def test_who_does_most_and_what_is_bought_most_is_told():
    events = [{"user": 0, "item": 1}] * 6 + [{"user": 1, "item": 2}] * 2
    found = happened(frames(TWO, [], events), ("buy",))
    assert of(found, "events.top_investor_share") == 0.75
    assert of(found, "events.top_item_share") == 0.75


def test_weights_and_freshness_are_means_of_what_is_told():
    slates = [{"user": 0, "weight": 1.0, "model_age": 2.0}, {"user": 1}]
    rows = [{"slate": 0, "item": 0, "propensity": 0.25}, {"slate": 1, "item": 1}]
    found = shown(frames(slates, rows))
    assert of(found, "propensity.replay_weight") == 1.0
    assert of(found, "freshness.model_age_days") == 2.0
    assert of(found, "propensity.even_weight") == pytest.approx((2.0 + 1.0) / 2)
    assert of(found, "propensity.effective_share") == pytest.approx(9 / (2 * 5))
    assert ("freshness.price_age_days", "all") not in found


def test_slices_are_told_where_there_are_several():
    slates = [{"user": 0, "segment": "retail", "policy": "v1"},
              {"user": 1, "segment": "private", "policy": "v2"}]  # fmt: skip
    found = shown(frames(slates, [{"slate": 0, "item": 0}, {"slate": 1, "item": 1}]))
    assert {name for _, name in found} == {
        "all", "segment=retail", "segment=private", "policy=v1", "policy=v2",
    }  # fmt: skip


def test_the_channels_that_most_slates_came_through_are_slices_beside_the_others():
    slates = [{"user": n, "channel": f"c{n:02d}"} for n in range(12) for _ in range(2)]
    slates += [{"user": 0, "channel": "rare"}, {"user": 1, "channel": ""}]
    rows = [{"slate": n, "item": n % 4} for n in range(len(slates))]
    found = shown(frames(slates, rows))
    assert {name for _, name in found} == {"all", *(f"channel=c{n:02d}" for n in range(12))}
    assert found["positions", "channel=c03"].rows == 2
    told = answered(frames(slates, rows))
    assert told["click_rate", "channel=c11"].rows == 2


def test_rates_are_by_position_and_the_score_is_held_against_clicks():
    rows = [{"slate": 0, "item": 0, "score": 2.0, "clicked": True},
            {"slate": 0, "item": 1, "score": 1.0}, {"slate": 1, "item": 0, "score": 3.0},
            {"slate": 1, "item": 2, "score": 1.5, "bought": True, "clicked": True}]  # fmt: skip
    rows[1]["complained"] = True
    found = answered(frames(TWO, rows))
    assert of(found, "click_rate") == 0.5
    assert of(found, "buy_rate") == 0.25
    assert of(found, "dismiss_rate") == 0.0
    assert of(found, "complaint_rate") == 0.25
    assert of(found, "click_auc") == 0.5  # 2 beats 1, 1.5 beats 1; 3 beats both


def test_a_model_that_is_right_has_no_calibration_error_however_few_rows():
    """Plain ECE of 40 investors is .06 to .1 here, though nothing is wrong."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        user = np.repeat(np.arange(40), 5)
        chance = rng.uniform(0.1, 0.5, 40)[user]
        found.append(calibration_error(chance, (rng.random(200) < chance).astype(float), user))
    assert np.mean([one.value for one in found]) < 0.04
    assert np.mean([one.low for one in found]) < 0.01
    assert {one.investors for one in found} == {40}


@pytest.mark.parametrize("off", [0.1, -0.1])
def test_a_model_that_says_too_much_or_too_little_is_off_by_that(off):
    inside, values = 0, []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        user = np.repeat(np.arange(300), 10)
        chance = rng.uniform(0.2, 0.6, len(user))
        lean_U = rng.normal(0, 0.1, 300)
        hit = rng.random(len(user)) < np.clip(chance - off + lean_U[user], 0, 1)
        level = calibration_error(chance, hit.astype(float), user)
        values.append(level.value)
        inside += level.low <= 0.1 <= level.high
    assert np.mean(values) == pytest.approx(0.1, abs=0.01)
    assert inside >= 34, "an interval of 95 % that lets an investor's rows hang together"


def test_what_is_too_much_here_and_too_little_there_does_not_cancel():
    rng = np.random.default_rng(0)
    user, high = np.repeat(np.arange(500), 10), np.tile([False, True], 2500)
    hit = (rng.random(5000) < 0.4).astype(float)
    level = calibration_error(np.where(high, 0.6, 0.2), hit, user)
    assert level.value == pytest.approx(0.2, abs=0.02)


def test_outcomes_are_held_against_how_likely_the_model_called_them():
    rows = [{"slate": n, "item": 0, "chance_click": 0.75, "chance_buy": 0.5,
             "chance_dismiss": np.nan, "clicked": True} for n in range(2)]  # fmt: skip
    found = answered(frames(TWO, rows))
    assert of(found, "calibration_error.click") == 0.25
    assert of(found, "calibration_error.buy") == 0.5
    assert ("calibration_error.dismiss", "all") not in found, "nobody said how likely it was"


def test_scores_of_two_policies_are_not_compared():
    slates = [{"user": 0, "policy": "v1"}, {"user": 1, "policy": "v2"}]
    rows = [{"slate": 0, "item": 0, "score": 0.2, "clicked": True},
            {"slate": 0, "item": 1, "score": 0.1},
            {"slate": 1, "item": 0, "score": 90.0, "clicked": True},
            {"slate": 1, "item": 2, "score": 80.0}]  # fmt: skip
    assert of(answered(frames(slates, rows)), "click_auc") == 1.0


def test_a_policy_of_which_nothing_was_clicked_hides_no_other():
    slates = [{"user": 0, "policy": "v1"}, {"user": 1, "policy": "v2"}]
    rows = [{"slate": 0, "item": 0, "score": 0.2, "clicked": True},
            {"slate": 0, "item": 1, "score": 0.1},
            {"slate": 1, "item": 0, "score": 90.0}]  # fmt: skip
    found = answered(frames(slates, rows))
    assert of(found, "click_auc") == 1.0
    assert (found["click_auc", "all"].rows, found["click_auc", "all"].investors) == (2, 1)


def test_propensities_that_say_what_was_drawn_have_no_error():
    right = np.array([[100.0, 20.0, 16.0, 20.0], [100.0, 80.0, 16.0, 80.0]])
    wrong = np.array([[100.0, 20.0, 16.0, 60.0], [100.0, 80.0, 16.0, 40.0]])
    assert of(calibrated(frames(TWO, bins_B4=right)), "propensity.calibration_error") == 0.0
    gap = 2 * np.sqrt(40**2 - 16) / 100
    found = of(calibrated(frames(TWO, bins_B4=wrong)), "propensity.calibration_error")
    assert found == pytest.approx(gap)


def test_a_gap_that_sampling_alone_gives_is_no_error():
    chance = np.array([[100.0, 20.0, 16.0, 23.0]])
    assert of(calibrated(frames(TWO, bins_B4=chance)), "propensity.calibration_error") == 0.0


def test_prices_move_together_or_apart():
    found = priced(frames(TWO, moves=np.array([0.02, 0.02, 0.02, 0.05, 0.05])))
    assert of(found, "price.move") == 0.02
    assert of(found, "price.spread") == 0.0


def test_rows_of_one_investor_hang_together():
    """Ten times the same rows of two investors tell no more than once."""
    once = ratio(np.array([1.0, 0.0]), np.ones(2), np.array([0, 1]))
    often = ratio(np.tile([1.0, 0.0], 10), np.ones(20), np.tile([0, 1], 10))
    assert often.stderr == pytest.approx(once.stderr)
    apart = ratio(np.tile([1.0, 0.0], 10), np.ones(20), np.arange(20))
    assert apart.stderr < once.stderr / 2


def test_nothing_is_no_ratio():
    assert ratio(np.zeros(0), np.zeros(0), np.zeros(0, np.int64)) is None
    assert ratio(np.zeros(2), np.zeros(2), np.array([0, 1])) is None
