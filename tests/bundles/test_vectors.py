"""The search of a bundle finds the nearest items, all of them, best first."""

from __future__ import annotations

import ibis
import numpy as np
import pyarrow as pa
import pytest

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


def test_rows_that_a_search_leaves_empty_are_no_items(alike, monkeypatch):
    class Short:
        d, ntotal = 2, 60

        def search(self, query_1D, most, params):
            return np.array([[0.5, -3.4e38]], np.float32), np.array([[3, -1]])

    assert Search(Short(), alike.ids).nearest(np.ones(2, np.float32), 5) == [("i03", 0.5)]
