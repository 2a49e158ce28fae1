"""What each retriever finds, and for whom."""

from __future__ import annotations

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tessera.bundles.vectors import write_trie
from tessera.contracts.arrow import schema
from tessera.contracts.components import component
from tessera.contracts.errors import BadParams, BrokenBundle
from tessera.contracts.tables import CODES
from tessera.model.nn.level_nets import LevelNetSettings
from tessera.model.trunk.model import SequenceModel, Shape
from tessera.model.trunk.saved import save_model
from tessera.serve.investors import Investor
from tessera.serve.retrieval import require
from tessera.serve.retrievers import generated
from tessera.serve.shelf import Shelf

IDS = [f"i{n}" for n in range(6)]


@pytest.fixture
def opened(tmp_path):
    """Open a retriever of a bundle that holds one more table."""

    def open_one(name, file=None, rows=()):
        if file:
            pq.write_table(pa.Table.from_pylist(list(rows)), tmp_path / file)
        items = pa.table({"item_id": IDS, "popularity": [0] * 6})
        return component("tessera.serve.retrievers", name).open_retriever(tmp_path, Shelf.of(items))

    return open_one


def listed(one, held=(), recent=(), risk=2):
    found = one.retrieve(Investor("u", risk, held, (), None, recent=recent), np.ones(6, bool), 9)
    return None if found is None else dict(zip(found.row_F.tolist(), found.score_F, strict=True))


def edges(*told):
    names = ("source_id", "target_id", "weight", "kind")
    return [dict(zip(names, one, strict=True)) for one in told]


def test_a_walk_goes_along_edges_of_every_kind_and_each_step_counts_half(opened):
    rows = edges(("i0", "i1", 3.0, "causal"), ("i0", "i2", 1.0, "co_acquired"),
                 ("i1", "i3", 1.0, "transition"), ("i3", "i4", 1.0, "transition"))  # fmt: skip
    one = opened("walk", "neighbours.parquet", rows)
    held = {1: 3 / 32, 2: 1 / 32, 3: 3 / 64, 4: 3 / 128}
    assert listed(one, held=("i0",)) == pytest.approx(held)
    assert listed(one, recent=("i1", "unheard of")) == pytest.approx({3: 1 / 8, 4: 1 / 16})
    both = listed(one, held=("i0",), recent=("i1",))
    assert both == pytest.approx(held | {3: held[3] + 1 / 8, 4: held[4] + 1 / 16})
    assert listed(one) is None
    assert listed(one, held=("i5",)) is None, "no edge leads away from it"


def test_a_walk_comes_by_what_is_declared_to_items_that_nobody_has_met(opened, tmp_path):
    told = [("i1", "issuer:a", 0.5), ("i4", "issuer:a", 0.5), ("gone", "issuer:a", 0.5),
            ("i4", "sector:x", 0.5), ("i5", "sector:x", 0.5)]  # fmt: skip
    names = ("source_id", "target_id", "weight")
    rows = [dict(zip(names, one, strict=True)) for one in told]
    pq.write_table(pa.Table.from_pylist(rows[::-1]), tmp_path / "declared.parquet")
    one = opened("walk", "neighbours.parquet", edges(("i0", "i1", 1.0, "causal")))
    found = listed(one, held=("i0",))
    assert list(found) == [1, 4, 5], "the nearer, the more often; what is declared is no item"
    assert found[1] > 0.1 > found[4] > found[5] > 0
    assert set(listed(one, recent=("i5",))) == {1, 4, 5}


def test_a_segment_lists_what_its_own_class_acquired(opened):
    rows = [{"risk_class": risk, "item_id": item, "investors": count}
            for risk, item, count in ((2, "i4", 3), (2, "i1", 9), (3, "i0", 7))]  # fmt: skip
    one = opened("segment", "segments.parquet", rows)
    assert list(listed(one)) == [1, 4]
    assert listed(one, risk=3) == {0: 7.0}
    assert listed(one, risk=1) is None


def test_content_lists_what_begins_alike_though_nobody_ever_met_it(opened, tmp_path):
    codes = [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 0, 3], [1, 1, 4], [2, 2, 5]]
    rows = [{"item_id": item, "code": code, "sid": item}
            for item, code in zip(IDS, codes, strict=True)]  # fmt: skip
    write_trie(ibis.memtable(pa.Table.from_pylist(rows, schema(CODES))), tmp_path)
    one = opened("content")
    assert listed(one, recent=("i0",)) == pytest.approx({0: 3.0, 1: 3.0, 2: 1.0})
    assert list(listed(one, recent=("i3", "i2"))) == [2, 3, 0, 1, 4]
    assert listed(one, held=("i4",)) == pytest.approx({4: 3.0, 3: 1.0}), "what is held, else"
    assert listed(one) is None


def test_a_bundle_without_the_file_has_no_such_retriever(opened):
    names = ("dense", "walk", "generated", "content", "segment")
    assert [opened(name) for name in names] == [None] * 5


@pytest.mark.parametrize(("name", "file", "told"), [
    ("walk", "neighbours.parquet", "its edges"), ("walk", "declared.parquet", "its declared links"),
    ("segment", "segments.parquet", "its segments"),
    ("content", "trie.safetensors", "its codes"),
    ("generated", "model/config.json", "its model"),
])  # fmt: skip
def test_a_damaged_file_is_one_line(opened, tmp_path, name, file, told):
    pq.write_table(
        pa.Table.from_pylist(edges(("i0", "i1", 1.0, "causal"))), tmp_path / "neighbours.parquet"
    )
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"nothing of the kind")
    (tmp_path / "trie.json").write_text("[]")
    with pytest.raises(BrokenBundle, match=f"{told} cannot be read"):
        opened(name)


CODES_IL = torch.tensor([[1, 1], [1, 1], [1, 2], [2, 1], [2, 1], [2, 2]])
HEAD = LevelNetSettings(4)
BORN = 3
"""An item that nobody had met when the model learnt, of the code of item 4."""


@pytest.fixture
def decoding(opened, tmp_path):
    """Open `generated` of a model whose state points at what the investor's vector says."""

    def open_one(head=HEAD):
        torch.manual_seed(0)
        codes_VC = torch.cat([torch.zeros(1, 2, dtype=torch.long), CODES_IL])
        warm_V = torch.arange(7) > 0
        warm_V[1 + BORN] = False
        kind = Shape("hstu", 4, 1, 1, 5, 0.0, 0.0, True, True, True, 7, (3, 3),
                     generative_head=head)  # fmt: skip
        model = SequenceModel(kind, codes_VC, warm_V)
        for level, codeword_KD in enumerate(model.codebook()):
            codeword_KD.data[:] = torch.eye(3, 4).roll(level, 1)
        save_model(model, IDS, tmp_path / "model")
        return opened("generated")

    return open_one


def wanting(vector):
    return Investor("u", 2, (), (), np.array(vector, np.float32))


def test_what_is_decoded_is_found_by_its_code_on_its_first_day(decoding):
    one, row_I = decoding(), np.arange(6)
    toward = [0.0, 0.1, 1.0, 0.0]  # codeword 2 at the first level, 1 at the second
    found = one.retrieve(wanting(toward), row_I >= 0, 6)
    assert set(found.row_F[:2]) == {4, BORN}, "met and not met, of the code that is asked for"
    np.testing.assert_allclose(np.exp(found.score_F).sum(), 1.0, rtol=1e-5)
    born = one.retrieve(wanting(toward), row_I == BORN, 6)
    assert born.row_F.tolist() == [BORN]
    assert born.score_F == pytest.approx(found.score_F[found.row_F == BORN])
    longer = one.retrieve(wanting([*(3 * np.array(toward)), 7.0, -2.0]), row_I >= 0, 6)
    np.testing.assert_array_equal(longer.row_F, found.row_F)
    np.testing.assert_allclose(longer.score_F, found.score_F, rtol=1e-5)


def test_what_is_closed_takes_no_beam(decoding, monkeypatch):
    one = decoding()
    monkeypatch.setattr(generated, "BEAMS", 1)
    likely = one.retrieve(wanting([0.0, 0.1, 1.0, 0.0]), np.ones(6, bool), 6).row_F[0]
    for row in range(6):
        if row != likely:
            only = one.retrieve(wanting([0.0, 0.1, 1.0, 0.0]), np.arange(6) == row, 1)
            assert only.row_F.tolist() == [row], "else the likeliest code would end the search"


def test_a_model_that_decodes_no_codes_is_no_such_retriever(decoding, opened):
    assert opened("generated") is None
    assert decoding(head=None) is None


def test_a_bundle_without_a_chosen_retriever_is_one_line(decoding):
    known = {"dense": object(), "popular": object()}
    for name, told in (
        ("generated", "v3 has no retriever generated: train with hstu.generate and publish again"),
        ("walk", "v3 has no retriever walk: publish again"),
        ("graph", "there is no retriever 'graph': choose of dense, popular"),
    ):
        with pytest.raises(BadParams, match=told):
            require(known, [name], "v3")
    require(known, ["dense"], "v3")
