"""What every retriever must do.  A new one inherits the suite by a name in RETRIEVERS."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.bundles.vectors import write_vectors
from tessera.contracts.arrow import schema
from tessera.contracts.components import component
from tessera.contracts.tables import ITEM_VECTORS
from tessera.serve.investors import Investor

RETRIEVERS: Sequence[str] = ["dense", "popular"]
ITEMS, WIDTH = 30, 4


def item_id(row):
    return f"i{row:02d}"


def shop(folder, order=range(ITEMS), broken=()):
    """A bundle of items of which every third is like the next; `broken` are of NaN."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    vector_ID = rng.normal(size=(ITEMS, WIDTH)).astype(np.float32)
    vector_ID[1::3] = vector_ID[::3]
    bought_I = rng.integers(1, 50, ITEMS).astype(float)
    bought_I[1::3] = bought_I[::3]
    for row in broken:
        vector_ID[row], bought_I[row] = np.nan, np.nan
    rows = [{"item_id": item_id(n), "popularity": bought_I[n]} for n in order]
    pq.write_table(pa.Table.from_pylist(rows), folder / "items.parquet")
    vectors = [{"item_id": item_id(n), "vector": vector_ID[n].tolist()} for n in order]
    write_vectors(ibis.memtable(pa.Table.from_pylist(vectors, schema(ITEM_VECTORS))), folder)
    return folder


def somebody():
    """An investor of whom everything is known."""
    vector_D = np.array([1.0, -0.5, 0.25, 2.0], np.float32)
    return Investor("u1", 4, (item_id(2),), (item_id(5),), vector_D)


def opened(name, bundle):
    items = pq.read_table(bundle / "items.parquet")
    return component("tessera.serve.retrievers", name).open_retriever(bundle, items)


def everything():
    return np.ones(ITEMS, bool)


@pytest.fixture(scope="module", params=RETRIEVERS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return shop(tmp_path_factory.mktemp("retriever") / "bundle")


def test_all_that_is_eligible_is_found_best_first_and_ties_by_item(name, bundle):
    found = opened(name, bundle).retrieve(somebody(), everything(), ITEMS)
    assert sorted(item for item, _ in found) == [item_id(n) for n in range(ITEMS)]
    assert found == sorted(found, key=lambda pair: (-pair[1], pair[0]))
    score = dict(found)
    assert all(score[item_id(n)] == score[item_id(n + 1)] for n in range(0, ITEMS, 3)), "alike"
    assert len(set(score.values())) > ITEMS / 3, "or nothing was told apart"


@pytest.mark.parametrize("most", [0, 1, 7, ITEMS, 10 * ITEMS])
def test_fewer_are_the_first_of_all(name, bundle, most):
    one = opened(name, bundle)
    found = one.retrieve(somebody(), everything(), most)
    assert found == one.retrieve(somebody(), everything(), ITEMS)[:most]


def test_only_what_is_eligible_is_found_and_nothing_else_changes(name, bundle, rng):
    one = opened(name, bundle)
    every = one.retrieve(somebody(), everything(), ITEMS)
    for _ in range(5):
        eligible_I = rng.random(ITEMS) < 0.3
        wanted = {item_id(n) for n in np.flatnonzero(eligible_I)}
        found = one.retrieve(somebody(), eligible_I, ITEMS)
        assert found == [pair for pair in every if pair[0] in wanted]
    assert one.retrieve(somebody(), np.zeros(ITEMS, bool), ITEMS) == []


def test_the_order_of_the_items_in_the_bundle_changes_nothing(name, bundle, rng, tmp_path):
    order = rng.permutation(ITEMS).tolist()
    eligible_I = np.arange(ITEMS) % 2 == 0
    found = opened(name, bundle).retrieve(somebody(), eligible_I, ITEMS)
    mixed = opened(name, shop(tmp_path / "mixed", order))
    assert mixed.retrieve(somebody(), eligible_I[order], ITEMS) == found


def test_equal_questions_get_equal_answers_whatever_was_asked_between(name, bundle):
    one = opened(name, bundle)
    found = one.retrieve(somebody(), everything(), 9)
    other = Investor("u2", 1, (), (), np.array([-1, 1, 0, 0], np.float32))
    one.retrieve(other, everything(), 3)
    assert one.retrieve(somebody(), everything(), 9) == found
    assert opened(name, bundle).retrieve(somebody(), everything(), 9) == found


def test_an_item_without_a_score_is_left_out_and_the_others_keep_their_order(
    name, bundle, tmp_path
):
    broken = (4, 11, 29)
    found = opened(name, shop(tmp_path / "broken", broken=broken)).retrieve(
        somebody(), everything(), ITEMS
    )
    every = opened(name, bundle).retrieve(somebody(), everything(), ITEMS)
    lost = {item_id(n) for n in broken}
    assert [item for item, _ in found] == [item for item, _ in every if item not in lost]
    assert np.isfinite([score for _, score in found]).all()


def test_of_a_stranger_it_says_nothing_or_lists_what_is_eligible(name, bundle):
    stranger = Investor("nobody", 1, (), (), None, is_known=False)
    eligible_I = np.arange(ITEMS) < 10
    found = opened(name, bundle).retrieve(stranger, eligible_I, 4)
    if found is not None:
        assert len(found) == 4
        assert {item for item, _ in found} <= {item_id(n) for n in range(10)}
