"""Edge weights by hand."""

from dataclasses import replace

import numpy as np
import pytest

from tessera.stages.graph import links
from tessera.stages.graph.params import GraphParams

IDS = np.array(["w", "x", "y", "z"], dtype=object)
FRESH = 1e9  # half-life so long that nothing decays


def as_dict(found, field="weight"):
    return {
        (IDS[s], IDS[t]): value
        for s, t, value in zip(found.source, found.target, getattr(found, field), strict=True)
    }


def past(world, rows, split=None, **params):
    settings = GraphParams(least_support=1, **params)
    return links.first_acquisitions(world.events(rows), IDS, split or world.split, settings), (
        settings
    )


def test_co_acquisition_is_the_cosine_of_who_holds_what(world):
    rows = [("a", "x", 1), ("a", "y", 2), ("b", "x", 3), ("b", "y", 3), ("c", "x", 5)]
    found, settings = past(world, rows, half_life_days=FRESH)
    co = links.co_acquired(found, settings)
    expected = pytest.approx(2 / np.sqrt(3 * 2))
    assert as_dict(co) == {("x", "y"): expected, ("y", "x"): expected}
    assert as_dict(co, "support") == {("x", "y"): 2, ("y", "x"): 2}


def test_old_acquisitions_fade_by_half_a_half_life(world):
    rows = [("a", "x", 80), ("a", "y", 80), ("b", "x", 100), ("b", "z", 100)]
    found, settings = past(world, rows, half_life_days=10)
    assert sorted(found.decay_A.tolist()) == pytest.approx([0.25, 0.25, 1, 1])
    co = as_dict(links.co_acquired(found, settings))
    norm = np.sqrt(1 + 0.25**2)
    assert co["x", "y"] == pytest.approx(0.25 * 0.25 / (norm * 0.25))
    assert co["x", "z"] == pytest.approx(1 / norm)


def test_positions_do_not_fade(world):
    found, _ = past(
        world, [("a", "x", 1), ("a", "y", 99)], replace(world.split, ordinal=True), half_life_days=1
    )
    assert found.decay_A.tolist() == [1.0, 1.0]


def test_a_transition_is_the_share_of_what_came_next(world):
    rows = [
        ("a", "x", 1),
        ("a", "y", 2),
        ("b", "x", 1),
        ("b", "z", 2),
        ("c", "x", 1),
        ("c", "z", 9),
    ]
    found, settings = past(world, rows, half_life_days=FRESH)
    step = links.transitions(found, settings)
    assert as_dict(step) == {("x", "y"): pytest.approx(1 / 3), ("x", "z"): pytest.approx(2 / 3)}
    assert as_dict(step, "support") == {("x", "y"): 1, ("x", "z"): 2}


def test_events_of_equal_time_have_no_order_among_them(world):
    rows = [("a", "x", 1), ("a", "y", 1), ("a", "z", 2)]
    found, settings = past(world, rows, half_life_days=FRESH)
    assert as_dict(links.transitions(found, settings)) == pytest.approx(
        {("x", "z"): 1.0, ("y", "z"): 1.0}
    )


def test_the_last_step_of_one_investor_does_not_lead_to_the_next_investor(world):
    found, settings = past(world, [("a", "x", 1), ("b", "y", 2)])
    assert as_dict(links.transitions(found, settings)) == {}


def test_only_the_heaviest_supported_edges_are_kept(world):
    rows = [(u, i, 1) for u in "ab" for i in "xy"] + [("c", "x", 1), ("c", "z", 1)]
    found, settings = past(world, rows, half_life_days=FRESH)
    assert ("x", "z") in as_dict(links.co_acquired(found, settings))
    strict = settings.model_copy(update={"least_support": 2})
    assert set(as_dict(links.co_acquired(found, strict))) == {("x", "y"), ("y", "x")}
    narrow = settings.model_copy(update={"neighbours": 1})
    assert set(as_dict(links.co_acquired(found, narrow))) == {("x", "y"), ("y", "x"), ("z", "x")}


def test_items_outside_the_catalogue_have_no_edge(world):
    found, settings = past(world, [("a", "x", 1), ("a", "unknown", 1), ("a", "y", 1)])
    assert set(as_dict(links.co_acquired(found, settings))) == {("x", "y"), ("y", "x")}


def test_causal_edges_keep_their_sign_and_drop_what_is_unclear(world):
    table = world.effects([("x", "y", 0.4, 0.1), ("x", "z", -0.2, 0.1), ("y", "z", 0.1, 0.2)])
    found = links.causal(table, IDS, GraphParams(least_z=1.5))
    assert as_dict(found) == {("x", "y"): pytest.approx(1.0), ("x", "z"): pytest.approx(-0.5)}
    assert found.false_sign.tolist() == [0.01, 0.01]
    assert found.low.tolist() == pytest.approx([0.2, -0.4]), "in probability, not normalised"
    assert found.high.tolist() == pytest.approx([0.6, 0.0])


def test_declared_links_weigh_more_the_rarer_the_value(world):
    items = world.items(["x", "y", "z"], sector=["bank", "bank", None], issuer=[None, None, "i"])
    assert links.declared(items) == [
        ("x", "sector:bank", "sector", 0.5),
        ("y", "sector:bank", "sector", 0.5),
        ("z", "issuer:i", "issuer", 1.0),
    ]
