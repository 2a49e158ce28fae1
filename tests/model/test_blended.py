"""Lists by walks and by several sources that share the places, beside those of the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tessera.contracts.errors import BadParams
from tessera.contracts.split import TEST
from tessera.contracts.tables import ACTIONS
from tessera.model.params import HstuParams
from tessera.model.sequences.questions import Lists
from tessera.shared.policies.shares import in_turn, places
from tessera.stages.hstu.blended import AGAINST, shared, walked

_NONE = 0


def of(*rows):
    item_QK = np.array(rows)
    return Lists(item_QK, np.where(item_QK == _NONE, -np.inf, 1.0).astype(np.float32))


def test_each_source_fills_its_places_and_what_is_found_already_gives_its_place_away():
    lists = {"dense": of([7, 8, 3, 4]), "walk": of([7, 9, 8, 5])}
    assert shared(lists, {"dense": 0.5, "walk": 0.5}, 2).item_UK.tolist() == [[7, 9]]
    assert shared(lists, {"dense": 0.75, "walk": 0.25}, 4).item_UK.tolist() == [[7, 8, 9, 3]]
    assert shared(lists, {"walk": 1.0}, 3).item_UK.tolist() == [[7, 9, 8]]
    found = shared(lists, {"dense": 0.5, "walk": 0.5}, 4)
    assert (np.diff(found.score_UK) < 0).all(), "the order is that of the places"


def test_places_that_one_lacks_go_to_the_others_and_none_stays_empty_before_the_end():
    lists = {"dense": of([7, 8, 3]), "walk": of([7, _NONE, _NONE])}
    assert shared(lists, {"dense": 0.34, "walk": 0.66}, 3).item_UK.tolist() == [[7, 8, 3]]
    short = shared({"walk": lists["walk"]}, {"walk": 1.0}, 3)
    assert short.item_UK.tolist() == [[7, _NONE, _NONE]]
    assert np.isfinite(short.score_UK).tolist() == [[True, False, False]]


@pytest.mark.parametrize("seed", range(5))
def test_whoever_is_ahead_has_taken_its_share_of_the_places_so_far(seed):
    rng = np.random.default_rng(seed)
    shares = dict(zip("abc", rng.dirichlet(np.ones(3)).tolist(), strict=True))
    source_F = [name for name, one in places(shares, 40).items() for _ in range(one)]
    first = [source_F[at] for at in in_turn(source_F, shares).tolist()]
    assert sorted(first) == source_F
    for until in range(1, 41):
        for name, share in shares.items():
            assert abs(first[:until].count(name) - share * until) < 2


def test_walks_follow_the_ring_and_list_nothing_closed(world, tables, small):
    asked = world.ask(TEST, small.model_copy(update={"filter_seen": True}))

    def walks(asked):
        lately = world.lately(asked, AGAINST)
        return walked(asked, lately, world.catalogue.vocabulary, tables.edges, 5)

    lists = walks(asked)
    for q, row in enumerate(lists.item_UK):
        held = asked.seen[1][asked.seen[0] == q]
        listed = row[np.isfinite(lists.score_UK[q])]
        assert not set(listed) & set(held)
        assert asked.allowed_V[listed].all()
    free = walks(world.ask(TEST, small))
    last_Q = world.histories.item_E[asked.windows.stop_W - 1]
    next_Q = last_Q % 12 + 1  # edges lead around all twelve items
    shown = asked.allowed_V[next_Q]
    among_Q = (free.item_UK == next_Q[:, None]).any(axis=1)
    assert among_Q[shown].mean() > 0.9


def test_what_was_done_lately_is_in_order_and_leaves_actions_out(world, small):
    events = len(world.histories.item_E)
    action_E = np.where(np.arange(events) % 3, ACTIONS.index("click"), ACTIONS.index("dismiss"))
    world = replace(world, histories=replace(world.histories, action_E=action_E))
    asked, histories = world.ask(TEST, small), world.histories
    row_N, item_N = world.lately(asked, AGAINST)
    assert len(asked.user_Q)
    for q, window in enumerate(zip(asked.windows.start_W, asked.windows.stop_W, strict=True)):
        done = histories.item_E[slice(*window)][action_E[slice(*window)] == ACTIONS.index("click")]
        assert item_N[row_N == q].tolist() == done.tolist()
    assert (np.diff(row_N) >= 0).all()


def test_the_stage_lists_them_beside_its_own_which_stay_as_they_are(tables, small, run_trunk):
    plain, _ = run_trunk(tables, small, "plain")
    shares = {"dense": 0.5, "walk": 0.5}
    more, _ = run_trunk(tables, small.model_copy(update={"blend": shares}), "more")
    lists = pq.read_table(more / "lists.parquet")
    own = lists.filter(
        pc.is_in(lists["model"], pc.unique(pq.read_table(plain / "lists.parquet")["model"]))
    )
    assert own.equals(pq.read_table(plain / "lists.parquet"))
    named = pc.unique(lists["model"]).to_pylist()
    assert {"hstu_walk", "hstu_blend"} == set(named) - set(pc.unique(own["model"]).to_pylist())
    assert (plain / "model" / "model.safetensors").read_bytes() == (
        more / "model" / "model.safetensors"
    ).read_bytes()
    items = {name: set(zip(*(lists.filter(pc.equal(lists["model"], name))[column].to_pylist()
             for column in ("user_id", "item_id")), strict=True)) for name in named}  # fmt: skip
    assert items["hstu_blend"] <= items["hstu"] | items["hstu_walk"]
    assert items["hstu_blend"] - items["hstu"]
    assert items["hstu_blend"] - items["hstu_walk"]


def test_a_blend_of_what_is_not_decoded_is_refused():
    with pytest.raises((ValidationError, BadParams), match="set hstu.generate to true"):
        HstuParams(blend={"generated": 0.5, "dense": 0.5})
    HstuParams(blend={"generated": 0.5}, generate=True)
    with pytest.raises(ValidationError):
        HstuParams(blend={"popular": 0.5})
