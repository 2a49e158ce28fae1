"""The search of a bundle finds the nearest items, all of them, best first."""

from __future__ import annotations

import ibis
import numpy as np
import pyarrow as pa
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.tables import ITEM_VECTORS
from tessera.index.vectors import Search, write_vectors

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
