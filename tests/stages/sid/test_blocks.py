"""Blocks that are off by default: what each sees, and what it says of items it knows nothing of."""

from dataclasses import replace
from datetime import timedelta

import ibis
import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from tessera.contracts.split import Split
from tessera.stages.sid.declared import declared_links, filled
from tessera.stages.sid.factors import learn, place
from tessera.stages.sid.history import History, read_history
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.vectors import fit_space, read_catalogue, vectorise
from tests.stages.sid.conftest import CUT

SPLIT = Split(CUT - timedelta(28), CUT, CUT + timedelta(28))
NOTHING = {"content_weight": 0.0, "neighbourhood_weight": 0.0, "topology_weight": 0.0}
BLOCKS = ("fields", "price", "behaviour", "structure", "second_hop", "near_behaviour")
CLOSES = [
    (f"i{k:03d}", ago, 1.0 + (k * ago) % 7)
    for k in range(30)
    for ago in (5, 6 + k, 37 + k, 95 + 9 * k, 370 + k)
]
EDGES = [(f"i{k:03d}", f"i{(k + 3) % 48:03d}", 1.0) for k in range(47)]


@pytest.fixture
def read(catalogue):
    """Read a catalogue with everything that blocks ask for."""

    def go(n=48, seen=None, edges=EDGES, **tables):
        everything = SidParams().model_copy(update={f"{name}_weight": 1.0 for name in BLOCKS})
        ids = [f"i{k:03d}" for k in range(n)]
        events = tables.get("events", catalogue.events())
        history = read_history(events, catalogue.prices(CLOSES), ids, SPLIT, everything)
        return read_catalogue(
            tables.get("items", catalogue.items(n)),
            tables.get("nodes", catalogue.nodes(n, seen=seen)),
            catalogue.edges(edges),
            history,
        )

    return go


def block_of(catalogue, name, **more):
    """Vectors of one block alone."""
    params = SidParams(text_width=16, **NOTHING, **{f"{name}_weight": 1.0}, **more)
    found = vectorise(catalogue, fit_space(catalogue, params), params)
    return found[:, 2 * 16 + 4 :]


@pytest.mark.parametrize("name", BLOCKS)
def test_each_block_gets_the_spread_that_its_weight_asks_for(read, name):
    catalogue = read(seen=42)
    found = {w: vectorise(catalogue, fit_space(catalogue, p), p) for w in (0.0, 1.5)
             for p in [SidParams(text_width=16, **{f"{name}_weight": w})]}  # fmt: skip
    assert np.array_equal(found[0.0], found[1.5][:, : found[0.0].shape[1]]), "others stay"
    known = found[1.5][:, found[0.0].shape[1] :]
    seen = np.abs(known).sum(axis=1) > 0
    assert np.sqrt(known[seen].var(axis=0).sum()) == pytest.approx(1.5, rel=0.05)


def test_items_of_the_same_investors_lie_together(read):
    found = block_of(read(), "behaviour", behaviour_width=8)
    gap = np.linalg.norm(found[:, None] - found[None], axis=2)
    same = np.arange(48)[:, None] % 3 == np.arange(48) % 3
    assert gap[same].mean() < 0.7 * gap[~same].mean()


def test_a_later_item_is_placed_among_those_of_its_investors(read, catalogue):
    params = SidParams(text_width=16, behaviour_width=8, **NOTHING, behaviour_weight=1.0)
    space = fit_space(read(), params)
    late = catalogue.events(late=[])
    rows = late.to_pyarrow().to_pylist()
    bought = [{**rows[k], "item_id": "i048", "event_id": f"f{k}"} for k in range(0, 480, 24)]
    more = ibis.memtable(pa.Table.from_pylist([*rows, *bought], late.to_pyarrow().schema))
    kinds = {int(row["user_id"][1:]) % 3 for row in bought}
    assert kinds == {0}, "three of whose kind buy it, or the test asks nothing"
    found = vectorise(read(n=49, events=more), space, params)[:, -8:]
    gap_N = np.linalg.norm(found[:48] - found[48], axis=1)
    assert gap_N[np.arange(48) % 3 == 0].mean() < 0.7 * gap_N[np.arange(48) % 3 != 0].mean()


def test_an_item_that_nobody_has_is_the_average_one(read):
    found = block_of(read(n=60), "behaviour", behaviour_width=8)
    assert np.abs(found[48:]).max() == 0.0
    assert np.abs(found[:48]).max() > 0.1


def test_a_new_item_has_the_structure_of_what_it_declares(read):
    catalogue = read(seen=42)
    found = block_of(catalogue, "structure")
    assert len(np.unique(np.round(found[:42, -1], 9))) == 1
    assert found[42, -1] > found[0, -1], "it says that it is new"
    alike = [k for k in range(42) if k % 3 == 0]  # of its category and sector
    mean = found[alike, :-1].mean(axis=0)
    assert found[42, :-1] == pytest.approx(mean, abs=1e-9)


def test_a_value_that_no_known_item_has_says_nothing():
    links = declared_links([["a", None], ["b", None], ["a", "z"]])
    found = filled(np.array([[2.0], [4.0], [np.nan]]), links)
    assert found[:, 0].tolist() == [2.0, 4.0, 2.0]


def test_factors_follow_ids_and_not_rows(rng):
    held_UN = sparse.csr_array((rng.random((40, 6)) < 0.4).astype(float))
    ids = [f"i{k}" for k in range(6)]
    direction_ZR = learn(held_UN, 3, 0)
    before = place(History(ids, held_UN, np.empty((0, 0))), ids, direction_ZR)
    more_UN = sparse.csr_array(np.hstack([np.zeros((40, 1)), held_UN.toarray()]))
    after = place(History(["a", *ids], more_UN, np.empty((0, 0))), ids, direction_ZR)
    np.testing.assert_allclose(after[1:], before)
    assert np.isnan(after[0]).all()


def test_an_item_announced_for_tomorrow_moves_no_other(read, catalogue):
    now, then = (read(n=n, nodes=catalogue.nodes(60, seen=42)) for n in (48, 60))
    params = SidParams(text_width=16, **NOTHING, structure_weight=1.0, near_behaviour_weight=1.0)
    space = fit_space(now, params)
    assert np.array_equal(vectorise(now, space, params), vectorise(then, space, params)[:48])


def test_an_item_without_text_fields_and_links_still_has_a_vector(read, catalogue):
    bare = read(seen=0, edges=(), items=catalogue.items(text=""), events=catalogue.events())
    for name in BLOCKS:
        assert np.isfinite(block_of(bare, name)).all()
    nobody = read(edges=(), seen=0, events=catalogue.events(n=48).limit(0))
    assert np.isfinite(block_of(nobody, "near_behaviour")).all()


def test_two_steps_reach_further_than_one(read):
    chain = [("i000", "i001", 1.0), ("i001", "i002", 1.0)]
    found = block_of(read(edges=chain), "second_hop")
    own = block_of(read(edges=()), "second_hop")
    assert np.linalg.norm(found[0] - own[2]) < np.linalg.norm(found[0] - own[1])


def test_neighbours_lend_their_behaviour_and_shuffled_ones_another(read):
    catalogue = read()
    found = block_of(catalogue, "near_behaviour", behaviour_width=8)
    gap = np.linalg.norm(found[:, None] - found[None], axis=2)
    same = np.arange(48)[:, None] % 3 == np.arange(48) % 3
    assert gap[same].mean() < 0.8 * gap[~same].mean()
    rng = np.random.default_rng(0)
    mixed = catalogue.neighbour_NN[:, rng.permutation(48)]
    other = block_of(replace(catalogue, neighbour_NN=mixed), "near_behaviour", behaviour_width=8)
    gap = np.linalg.norm(other[:, None] - other[None], axis=2)
    assert gap[same].mean() > 0.9 * gap[~same].mean()


def test_equal_fields_are_equal_and_others_are_not(read):
    found = block_of(read(), "fields")
    assert np.array_equal(found[0], found[3])
    assert np.linalg.norm(found[0] - found[1]) > 0.1
