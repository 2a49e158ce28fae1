"""What each retriever finds, and for whom."""

from __future__ import annotations

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tessera.bundles.vectors import write_trie
from tessera.contracts.arrow import schema
from tessera.contracts.components import component
from tessera.contracts.errors import BrokenBundle
from tessera.contracts.tables import CODES
from tessera.serve.investors import Investor
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
    assert [opened(name) for name in ("dense", "walk", "content", "segment")] == [None] * 4


@pytest.mark.parametrize(("name", "file", "told"), [
    ("walk", "neighbours.parquet", "its edges"), ("walk", "declared.parquet", "its declared links"),
    ("segment", "segments.parquet", "its segments"),
    ("content", "trie.safetensors", "its codes"),
])  # fmt: skip
def test_a_damaged_file_is_one_line(opened, tmp_path, name, file, told):
    pq.write_table(
        pa.Table.from_pylist(edges(("i0", "i1", 1.0, "causal"))), tmp_path / "neighbours.parquet"
    )
    (tmp_path / file).write_bytes(b"nothing of the kind")
    (tmp_path / "trie.json").write_text("[]")
    with pytest.raises(BrokenBundle, match=f"{told} cannot be read"):
        opened(name)
