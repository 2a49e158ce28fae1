"""The search of a bundle finds the nearest items, all of them, best first."""

from __future__ import annotations

import faiss
import ibis
import numpy as np
import pyarrow as pa
import pytest

from tessera.bundles.indexes import kinds, read_lists
from tessera.bundles.indexes.flat import Flat
from tessera.bundles.indexes.lists import Lists, open_index
from tessera.bundles.indexes.read_lists import ListReader
from tessera.bundles.vectors import Search, write_vectors
from tessera.contracts.arrow import schema
from tessera.contracts.errors import BadInput
from tessera.contracts.tables import ITEM_VECTORS

ITEMS, WIDTH = 3000, 16


@pytest.fixture
def vector_ND(rng):
    drawn_ND = rng.normal(size=(ITEMS, WIDTH)).astype(np.float32)
    return drawn_ND / np.linalg.norm(drawn_ND, axis=1, keepdims=True)


def test_the_first_50_are_those_of_brute_force(tmp_path, vector_ND, rng):
    rows = [{"item_id": f"i{n:04d}", "vector": row} for n, row in enumerate(vector_ND.tolist())]
    order = rng.permutation(ITEMS)
    table = pa.Table.from_pylist([rows[n] for n in order], schema(ITEM_VECTORS))
    assert write_vectors(ibis.memtable(table), tmp_path) == ITEMS
    search = Search.open(tmp_path)
    for query_D in rng.normal(size=(20, WIDTH)).astype(np.float32):
        score_N = vector_ND.astype(np.float64) @ query_D
        best = np.argsort(-score_N)[:50]
        found = search.nearest(query_D, 50)
        assert [item for item, _ in found] == [f"i{n:04d}" for n in best]
        np.testing.assert_allclose([score for _, score in found], score_N[best], atol=1e-5)


@pytest.fixture
def alike(tmp_path):
    """Sixty items, thirty of one direction and thirty of another."""
    rows = [
        {"item_id": f"i{n:02d}", "vector": [1.0, 0.0] if n % 2 else [0.0, 1.0]} for n in range(60)
    ]
    table = pa.Table.from_pylist(rows[::-1], schema(ITEM_VECTORS))
    write_vectors(ibis.memtable(table), tmp_path)
    return Search.open(tmp_path)


@pytest.mark.parametrize("most", [1, 7, 30, 31, 60, 99])
def test_equal_products_stand_in_the_order_of_the_items(alike, most):
    found = alike.nearest(np.array([1.0, 0.5], np.float32), most)
    wanted = [f"i{n:02d}" for n in (*range(1, 60, 2), *range(0, 60, 2))]
    assert [item for item, _ in found] == wanted[:most]


@pytest.mark.parametrize("query", [[np.nan, 1.0], [np.inf, 1.0], [1.0], [1.0, 0.0, 0.0]])
def test_a_query_that_is_no_vector_is_refused(alike, query):
    with pytest.raises(BadInput, match="cannot be searched: it must hold 2 finite numbers"):
        alike.nearest(np.array(query, np.float32), 3)


def test_rows_that_a_search_leaves_empty_are_no_items(alike):
    class Short:
        d, ntotal = 2, 60

        def search(self, query_1D, most, params):
            return np.array([[0.5, -3.4e38]], np.float32), np.array([[3, -1]])

    assert Search(Flat(Short()), alike.ids).nearest(np.ones(2, np.float32), 5) == [("i03", 0.5)]


def indexed(folder, vector_ND, kind="auto"):
    rows = [{"item_id": f"i{n:04d}", "vector": row} for n, row in enumerate(vector_ND.tolist())]
    folder.mkdir()
    table = pa.Table.from_pylist(rows, schema(ITEM_VECTORS))
    write_vectors(ibis.memtable(table), folder, kind)
    return Search.open(folder)


def test_who_does_not_choose_gets_lists_from_a_size_on(tmp_path, vector_ND, monkeypatch):
    assert isinstance(indexed(tmp_path / "v", vector_ND).index, Flat)
    monkeypatch.setattr(kinds, "EXACT_BELOW", ITEMS)
    lists = indexed(tmp_path / "w", vector_ND).index
    assert isinstance(lists, Lists)
    assert lists.reader.index.nlist == 219


def test_lists_are_read_until_as_many_listed_rows_were_seen(tmp_path, vector_ND, monkeypatch):
    search = indexed(tmp_path / "v", vector_ND, "lists")
    read = ListReader._read
    seen = []

    def spy(self, query_1D, list_P, listed_N, most):
        seen.append((len(list_P), np.isin(self.list_N[listed_N], list_P).sum()))
        return read(self, query_1D, list_P, listed_N, most)

    monkeypatch.setattr(ListReader, "_read", spy)
    monkeypatch.setattr(read_lists, "_READ", 128)
    enough = 128 * 14
    for share in (1, 0.8, 0.1):
        search.among(vector_ND[0], np.arange(ITEMS) < ITEMS * share, 5)
    (some, whole), (more, as_many), (rest, few) = seen
    assert enough <= whole < enough + 100
    assert enough <= as_many < enough + 100
    assert some < more, "the fewer rows are listed, the more lists are read"
    assert rest < 219, "lists without a listed row are passed over"
    assert few == ITEMS * 0.1


def test_where_counting_missed_a_list_all_are_read(tmp_path, vector_ND, monkeypatch):
    search = indexed(tmp_path / "v", vector_ND, "lists")
    monkeypatch.setattr(read_lists, "_COUNTED", 10)
    row_K, _ = search.among(vector_ND[0], np.arange(ITEMS) < 100, 100)
    assert sorted(row_K.tolist()) == list(range(100))


def test_an_item_is_found_again_by_its_own_vector_whatever_the_index(tmp_path, vector_ND):
    exact = indexed(tmp_path / "v", vector_ND)
    lists = indexed(tmp_path / "w", vector_ND, "lists")
    assert exact.like("i0007", 3)[0][0] == lists.like("i0007", 3)[0][0]


def test_a_tie_that_straddles_the_end_is_cut_by_id_among_what_is_listed(alike):
    listed_N = np.arange(60) % 3 > 0
    row_K, _ = alike.among(np.array([1.0, 0.5], np.float32), listed_N, 5)
    assert row_K.tolist() == [n for n in range(1, 60, 2) if n % 3][:5]


def test_lists_are_found_as_if_they_were_read(tmp_path, vector_ND, rng):
    search = indexed(tmp_path / "b", vector_ND, "lists")
    lists = faiss.downcast_InvertedLists(search.index.reader.index.invlists)
    assert isinstance(lists, faiss.OnDiskInvertedLists)
    assert lists.prefetch_nthread == 0
    index = faiss.read_index(str(tmp_path / "b" / "vectors.faiss"))
    read = Search(open_index(index, tmp_path), search.ids)
    for query_D in rng.normal(size=(5, WIDTH)).astype(np.float32):
        assert search.nearest(query_D, 20) == read.nearest(query_D, 20)


def test_ids_that_are_known_are_kept_once(tmp_path, vector_ND):
    ids = indexed(tmp_path / "b", vector_ND).ids
    known = [*ids]
    assert Search.open(tmp_path / "b", known).ids is known
    assert Search.open(tmp_path / "b", known[1:]).ids == ids
