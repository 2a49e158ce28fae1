"""What every retriever must do.  A new one inherits the suite by a name in RETRIEVERS."""

from __future__ import annotations

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tessera.bundles.vectors import write_trie, write_vectors
from tessera.contracts.arrow import schema
from tessera.contracts.components import component
from tessera.contracts.tables import CODES, ITEM_VECTORS
from tessera.model.nn.level_nets import LevelNetSettings
from tessera.model.trunk.model import SequenceModel, Shape
from tessera.model.trunk.saved import save_model
from tessera.serve.investors import Investor
from tessera.serve.retrieval import Found
from tessera.serve.shelf import Shelf

RETRIEVERS = ["dense", "walk", "generated", "content", "segment", "popular"]
ITEMS, WIDTH = 30, 4
HELD = "i02"


def item_id(row):
    return f"i{row:02d}"


def shop(folder, order=range(ITEMS), broken=()):
    """A bundle in which every third item is like the next, and edges lead from one to all.

    What would give the items of `broken` a score is NaN.
    """
    folder.mkdir()
    rng = np.random.default_rng(3)
    vector_ID = rng.normal(size=(ITEMS, WIDTH)).astype(np.float32)
    vector_ID[1::3] = vector_ID[::3]
    bought_I = rng.integers(1, 50, ITEMS).astype(float)
    bought_I[1::3] = bought_I[::3]
    weight_I = rng.random(ITEMS)
    weight_I[1::3] = weight_I[::3]
    for row in broken:
        vector_ID[row], bought_I[row], weight_I[row] = np.nan, np.nan, np.nan
    rows = [{"item_id": item_id(n), "popularity": bought_I[n]} for n in order]
    pq.write_table(pa.Table.from_pylist(rows), folder / "items.parquet")
    edges = [{"source_id": HELD, "target_id": item_id(n), "weight": weight_I[n]} for n in order]
    pq.write_table(pa.Table.from_pylist(edges), folder / "neighbours.parquet")
    vectors = [{"item_id": item_id(n), "vector": vector_ID[n].tolist()} for n in order]
    write_vectors(ibis.memtable(pa.Table.from_pylist(vectors, schema(ITEM_VECTORS))), folder)
    segments = [{"risk_class": 4, "item_id": item_id(n), "investors": bought_I[n]} for n in order]
    pq.write_table(pa.Table.from_pylist(segments), folder / "segments.parquet")
    begin_IL = rng.integers(0, (2, 3, 4), (ITEMS, 3))
    begin_IL[1::3] = begin_IL[::3]
    codes = [{"item_id": item_id(n), "code": [*begin_IL[n].tolist(), n], "sid": str(n)}
             for n in order if n not in broken]  # fmt: skip
    write_trie(ibis.memtable(pa.Table.from_pylist(codes, schema(CODES))), folder)
    save_model(trunk(begin_IL + 1, broken), [item_id(n) for n in range(ITEMS)], folder / "model")
    return folder


def trunk(code_IL, broken):
    """A model that decodes these codes; vectors of `broken` are no numbers."""
    torch.manual_seed(3)
    codes_VC = torch.from_numpy(np.vstack([np.zeros((1, 3), int), code_IL]))
    shape = Shape("hstu", WIDTH, 1, 1, 5, 0.0, 0.0, True, True, True, ITEMS + 1, (3, 4, 5),
                  generative_head=LevelNetSettings(WIDTH))  # fmt: skip
    model = SequenceModel(shape, codes_VC, torch.arange(ITEMS + 1) > 0)
    for weight in (model.item_VD, *model.codebook(), *model.decoder.asks.parameters()):
        torch.nn.init.normal_(weight.data)
    model.item_VD.data[2::3] = model.item_VD.data[1::3]
    model.item_VD.data[[1 + row for row in broken]] = torch.nan
    model.decoder.log_scale_L.data[:] = torch.tensor(
        [5.0, 5.0, 5.0, 0.0]
    )  # codes decide, not items
    return model


def somebody():
    """An investor of whom everything is known."""
    vector_D = np.array([1.0, -0.5, 0.25, 2.0], np.float32)
    met = tuple(item_id(n) for n in (0, 8, 14, 15, 20, 27, 8))
    return Investor("u1", 4, (HELD,), (item_id(5),), vector_D, recent=met)


class Opened:
    """A retriever that answers with pairs of item and score."""

    def __init__(self, name, bundle):
        self.shelf = Shelf.of(pq.read_table(bundle / "items.parquet"))
        kind = component("tessera.serve.retrievers", name)
        self.one = kind.open_retriever(bundle, self.shelf)

    def retrieve(self, who, eligible_I, most):
        before_I = eligible_I.copy()
        found = self.one.retrieve(who, eligible_I, most)
        assert (eligible_I == before_I).all(), "what is asked with is left as it is"
        if found is None:
            return None
        assert isinstance(found, Found)
        assert (found.row_F.dtype, found.score_F.dtype) == (np.int64, np.float64)
        ids = (self.shelf.ids[row] for row in found.row_F.tolist())
        return list(zip(ids, found.score_F.tolist(), strict=True))


def opened(name, bundle):
    return Opened(name, bundle)


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
        assert one.retrieve(somebody(), eligible_I, 3) == found[:3], "no place is lost to others"
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
    other = Investor("u2", 1, (), (), np.array([-1, 1, 0, 0], np.float32), recent=("i01",))
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
