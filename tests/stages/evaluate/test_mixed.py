"""Baselines with the model's knowledge: expected gains, leanings, mixes chosen on validation."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
import torch

from tessera.model.trunk.demand import Demand
from tessera.shared.features.demand import HABIT, item_classes, leanings
from tessera.stages.evaluate.baselines import BASELINES, ease, fit, popularity, sensible
from tessera.stages.evaluate.holdout import build_holdout, sample
from tessera.stages.evaluate.mixed import MIXES, chosen_mix, demand, demand_leaning, expected
from tessera.stages.evaluate.params import EvaluateParams
from tessera.stages.evaluate.report import per_user, rank_all

HORIZON = 10.0
PARAMS = EvaluateParams(relevant_actions=("buy",), demand_days=HORIZON, ease_l2=2.0)
WITH_DEMAND = ["popularity_demand", "demand_leaning", "ease_demand"]


@pytest.fixture
def build(tmp_path):
    def _build(tables, name="held", params=PARAMS):
        opened = tables.open(tmp_path / name)
        return build_holdout(opened["events"], opened["items"], tables.split, params)

    return _build


def by_item(holdout, score_I):
    return dict(zip(holdout.item_ids.to_pylist(), score_I, strict=True))


def test_what_is_new_is_expected_to_gain_what_new_items_of_its_class_did(fashions, build):
    holdout = build(fashions)
    gain = by_item(holdout, expected(holdout, PARAMS))
    # E and F were new in one of the two horizons behind, G and H in the other; each gained v00 in
    # it, and one more item without any gain is counted.  G and H are on sale for a tenth of one.
    like = 4 / (4 + 1)
    lately = (20 + 0.25 * like) / (1 + 0.25)
    assert gain["E"] == 1.0
    assert gain["A"] == pytest.approx(0.25 * like / 1.25 / lately)
    assert gain["G"] == pytest.approx((1 + 0.25 * like) / (0.1 + 0.25) / lately)


def test_demand_times_leaning_matches_hand_computation(fund_lover, build):
    holdout = build(fund_lover)
    score = by_item(holdout, demand_leaning(holdout, PARAMS)(np.array([0]))[0])
    share = {"fund": 3 / 5, "bond": 2 / 5}
    fund = np.sqrt((2 + HABIT * share["fund"]) / (2 + HABIT) / share["fund"])
    bond = np.sqrt((0 + HABIT * share["bond"]) / (2 + HABIT) / share["bond"])
    # All four gained one investor in the last horizon, which is the largest gain.
    np.testing.assert_allclose(
        [score[item] for item in "ABCD"], [fund, fund, bond, bond], atol=1e-8
    )


def test_leanings_and_gains_are_those_that_the_model_adds(rng):
    class_V = np.array([0, 0, 1, 2, 1])
    had_BV = (rng.random((6, 5)) < 0.5).astype(np.float32)
    had_BV[:, 0] = 0.0  # padding
    part = Demand(5, 3)
    share_C = np.array([0.5, 0.3, 0.2])
    part.class_V.copy_(torch.from_numpy(class_V))
    part.share_C.copy_(torch.from_numpy(share_C))
    had_BC = had_BV @ np.eye(3)[class_V]
    np.testing.assert_allclose(
        part.investor(torch.from_numpy(had_BV)).numpy(), leanings(had_BC, share_C), rtol=1e-5
    )


def test_a_mix_is_what_is_best_on_validation(fashions, build):
    holdout = build(fashions)
    before = holdout.dated.before
    value = {}
    for mix in MIXES:

        def both(users, mix=mix):
            share_I = before.holders_I / before.holders_I.max()
            return share_I + mix * demand(before, PARAMS)(users)

        value[mix] = per_user(rank_all(both, before, None).top_NK, before, (10,))["ndcg_10"].mean()
    mix = chosen_mix(popularity_share, demand, holdout, PARAMS)
    assert mix == max(MIXES, key=lambda one: value[one])
    assert mix > 0, "what is new is wanted here, and popularity cannot know it"


def popularity_share(holdout, params):
    score = popularity(holdout, params)
    return lambda users: score(users) / holdout.holders_I.max()


def test_demand_finds_what_popularity_cannot(fashions, build):
    holdout = build(fashions)
    found = {}
    for name in ("popularity", *WITH_DEMAND):
        lists = rank_all(fit(name, holdout, PARAMS), holdout, None)
        found[name] = per_user(lists.top_NK, holdout, (10,))["ndcg_10"].mean()
    assert found["popularity"] == 0.0
    assert all(found[name] == 1.0 for name in WITH_DEMAND)


def test_a_mixed_score_is_the_sum_with_the_mix_chosen(two_tastes, build):
    holdout, users = build(two_tastes), np.arange(5)
    mix = chosen_mix(ease, demand_leaning, holdout, PARAMS)
    assert mix in MIXES
    one, other = (base(holdout, PARAMS)(users) for base in (ease, demand_leaning))
    np.testing.assert_array_equal(fit("ease_demand", holdout, PARAMS)(users), one + mix * other)


def test_without_a_validation_period_nothing_is_mixed(fashions, build):
    nobody = replace(
        fashions,
        split=replace(fashions.split, validation_from=fashions.split.cut - timedelta(days=30)),
    )
    holdout = build(nobody)
    assert holdout.dated.before is None
    assert chosen_mix(ease, demand_leaning, holdout, PARAMS) == 0.0
    users = np.arange(3)
    np.testing.assert_array_equal(
        fit("ease_demand", holdout, PARAMS)(users), fit("ease", holdout, PARAMS)(users)
    )


def later_is_mixed(tables, rng, since, until):
    """Return the tables with the items of events in (since, until] shuffled."""
    when = tables.events["event_ts"].to_numpy()
    late = (when > _us(since)) & (when <= _us(until))
    items = np.array(tables.events["item_id"].to_pylist())
    items[late] = rng.permutation(items[late])
    return replace(tables, events=tables.events.set_column(2, "item_id", [items.tolist()]))


def _us(moment):
    return np.datetime64(moment.replace(tzinfo=None), "us")


def test_nothing_after_the_cut_moves_a_mix_or_a_score(two_tastes, build, rng):
    """The no-future law: test items shuffled, every score of whoever is asked stays."""
    split = two_tastes.split
    changed = later_is_mixed(two_tastes, rng, split.cut, split.test_until)
    one, other = build(two_tastes), build(changed, "changed")
    assert set(zip(one.relevant_user_R, one.relevant_item_R, strict=True)) != set(
        zip(other.relevant_user_R, other.relevant_item_R, strict=True)
    )
    for asked in ("user_ids", "item_ids"):
        mine, theirs = (getattr(held.dated.before, asked) for held in (one, other))
        assert mine == theirs, "what validation asks lies before the cut"
    for asked in ("relevant_user_R", "relevant_item_R"):
        mine, theirs = (getattr(held.dated.before, asked) for held in (one, other))
        np.testing.assert_array_equal(mine, theirs)
    for name in WITH_DEMAND:
        scores = [
            dict(zip(held.user_ids.to_pylist(), fit(name, held, PARAMS)(np.arange(
                len(held.user_ids))), strict=True))
            for held in (one, other)
        ]  # fmt: skip
        for user in scores[0].keys() & scores[1].keys():
            np.testing.assert_array_equal(scores[0][user], scores[1][user])


def test_validation_ends_at_the_cut_and_begins_where_the_model_begins_it(fashions, build):
    holdout = build(fashions)
    before = holdout.dated.before
    asked = {before.item_ids[i].as_py() for i in before.relevant_item_R}
    assert asked == {"E", "F"}, "events of the first moment of validation are asked, not known"
    assert before.acquired_UI.sum() == 20 * 4 + 20 * 12 + 4
    bought = fashions.split.cut - timedelta(days=8)  # E
    first = replace(fashions.split, validation_from=bought)
    begun = build(replace(fashions, split=first), "first").dated.before
    assert {begun.item_ids[i].as_py() for i in begun.relevant_item_R} == {"E", "F"}
    later = replace(fashions.split, validation_from=bought + timedelta(microseconds=1))
    begun = build(replace(fashions, split=later), "later").dated.before
    assert {begun.item_ids[i].as_py() for i in begun.relevant_item_R} == {"F"}


def test_a_sample_asks_fewer_of_the_same(two_tastes, build):
    holdout = build(two_tastes)
    few = sample(holdout, 7)
    rows = np.linspace(0, len(holdout.user_ids) - 1, 7).astype(int)
    assert few.user_ids.to_pylist() == [holdout.user_ids[int(n)].as_py() for n in rows]
    np.testing.assert_array_equal(few.relevant_N(), holdout.relevant_N()[rows])
    np.testing.assert_array_equal(
        fit("ease", few, PARAMS)(np.arange(7)), fit("ease", holdout, PARAMS)(rows)
    )


def test_many_cuts_know_no_demand(two_tastes):
    split = replace(two_tastes.split, protocol="leave_last_out")
    assert not set(WITH_DEMAND) & set(sensible(BASELINES, split))
    assert "recent_popularity" in sensible(BASELINES, split)
    assert set(WITH_DEMAND) <= set(sensible(BASELINES, two_tastes.split))


def test_classes_are_numbered_by_size():
    rows = pa.table({"item_id": list("abcde"), "category": ["x", "y", "y", None, "y"]})
    np.testing.assert_array_equal(item_classes(rows)[[1, 2, 4]], [0, 0, 0])
    assert sorted(item_classes(rows)[[0, 3]]) == [1, 2]
