from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tessera.contracts.errors import BadInput
from tessera.shared.policies.suitability import Unknown
from tessera.stages.evaluate.holdout import build_holdout, read_lists
from tessera.stages.evaluate.params import EvaluateParams
from tessera.stages.evaluate.report import slices

PARAMS = EvaluateParams(relevant_actions=("buy",), recent_days=9, cold_days=5)


@pytest.fixture
def build(tmp_path):
    def _build(tables, params=PARAMS):
        opened = tables.open(tmp_path)
        return build_holdout(opened["events"], opened["items"], tables.split, params)

    return _build


def relevant(holdout):
    users, items = holdout.user_ids.to_pylist(), holdout.item_ids.to_pylist()
    pairs = zip(holdout.relevant_user_R, holdout.relevant_item_R, strict=True)
    return {(users[user], items[item]) for user, item in pairs}


def named(holdout, mask):
    return {name for name, kept in zip(holdout.item_ids.to_pylist(), mask, strict=True) if kept}


def test_relevant_is_what_is_new_to_a_known_investor(shop, build):
    assert relevant(build(shop)) == {
        ("u1", "C"),
        ("u2", "B"),
        ("u3", "A"),
        ("u3", "C"),
        ("u7", "B"),
    }


def test_items_come_in_order_of_popularity_then_name(shop, build):
    holdout = build(shop)
    assert holdout.item_ids.to_pylist() == ["A", "B", "C", "D", "E", "F", "Z"]
    assert holdout.holders_I.tolist() == [4, 2, 0, 0, 0, 0, 0]


def test_only_what_is_on_sale_at_the_cut_is_a_candidate(shop, build):
    holdout = build(shop)
    assert named(holdout, holdout.candidate_I) == {"A", "B", "C", "D", "Z"}


def test_unborn_items_count_where_published_tables_count_them(shop, build):
    holdout = build(shop, PARAMS.model_copy(update={"future_items": True}))
    assert named(holdout, holdout.candidate_I) == {"A", "B", "C", "D", "F", "Z"}
    assert ("u6", "F") in relevant(holdout)


def test_what_was_sold_was_held(shop, build):
    holdout = build(shop)
    second = holdout.user_ids.to_pylist().index("u2")
    held = holdout.held_NI[[second]].toarray()[0] > 0
    assert named(holdout, held) == {"A", "D"}


def test_recent_popularity_looks_back_from_the_cut(shop, build):
    holdout = build(shop)
    # Day 1 is just too old; A was bought on day 10, B twice on day 2.
    assert holdout.recent_I[:2].tolist() == [1, 2]
    longer = build(shop, PARAMS.model_copy(update={"recent_days": 10}))
    assert longer.recent_I[0] > 1


def test_cold_is_never_acquired_or_young(shop, build):
    holdout = build(shop)
    assert named(holdout, holdout.cold_I) == {"C", "D", "E", "F", "Z"}
    assert holdout.known_events_N.tolist() == [3, 2, 1, 1]


def test_unborn_is_first_offered_after_a_cut_that_all_share(shop, build):
    assert named(build(shop), build(shop).future_I) == {"F"}
    at_cut = pa.array([shop.split.cut] * 7, shop.items["valid_from"].type)
    then = replace(shop, items=shop.items.set_column(1, "valid_from", at_cut))
    assert not build(then).future_I.any(), "the cut belongs to the past"
    last_out = replace(shop, split=replace(shop.split, protocol="leave_last_out"))
    assert not build(last_out).future_I.any()


def test_leave_last_out_hides_exactly_the_last_event(shop, build):
    split = replace(shop.split, protocol="leave_last_out")
    holdout = build(replace(shop, split=split))
    # u1's last event is A again, u2's is B; u3's two purchases tie and the later row is last;
    # nobody is born too late for the only cut there is, so u6's F counts.
    assert relevant(holdout) == {("u2", "B"), ("u3", "C"), ("u6", "F"), ("u7", "C")}


def test_lists_lose_what_is_held_gone_or_unknown(shop, build, tmp_path):
    holdout = build(shop)
    tops = read_lists(shop.open(tmp_path)["lists"], holdout, 4)
    number = {name: k for k, name in enumerate(holdout.item_ids.to_pylist())}
    assert list(tops) == ["hstu"]
    assert tops["hstu"].tolist() == [
        [number["C"], number["D"], -1, -1],
        [number["C"], number["B"], -1, -1],
        [number["C"], -1, -1, -1],
        [-1, -1, -1, -1],
    ]


def test_low_ratings_are_no_acquisition(shop, build):
    rated = shop.events.set_column(3, "action", [["rate"] * len(shop.events)])
    units = [float(k % 2) * 5 for k in range(len(rated))]
    tables = replace(shop, events=rated.set_column(5, "units", [units]))
    params = PARAMS.model_copy(update={"relevant_actions": ("rate",), "least_rating": 4.0})
    # Rows with odd numbers are liked.
    assert relevant(build(tables, params)) == {("u1", "C"), ("u2", "D"), ("u3", "C")}


def test_an_empty_test_says_what_to_do(shop, build):
    late = replace(shop.split, cut=shop.split.test_until)
    with pytest.raises(BadInput, match="choose an earlier cut"):
        build(replace(shop, split=late))


def test_the_tail_lies_outside_the_head_that_was_asked_for(shop, build):
    holdout = build(shop)
    risk_N = np.ones(len(holdout.user_ids), dtype=int)

    def tail(head_share):
        params = PARAMS.model_copy(update={"head_share": head_share})
        return named(holdout, slices(holdout, risk_N, Unknown(), params)["long_tail"].item_I)

    # A has 4 of the 6 acquisitions, B the others.
    assert "B" in tail(0.6)
    assert "B" not in tail(1.0)
