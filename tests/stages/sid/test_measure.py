"""A second encoding is a little less of the first; pairs are read from the graph."""

from __future__ import annotations

import numpy as np
import pytest

from tessera.stages.sid.again import LEFT_OUT, thinned
from tessera.stages.sid.measure import co_acquired
from tessera.stages.sid.vectors import read_catalogue


def test_a_second_encoding_leaves_out_some_terms_and_edges_and_adds_none(catalogue):
    ends = [(f"i{k:03d}", f"i{(7 * k + step) % 48:03d}", 1.0) for k in range(48) for step in
            (1, 2, 3)]  # fmt: skip
    whole = read_catalogue(catalogue.items(), catalogue.nodes(), catalogue.edges(ends))
    less = thinned(whole, seed=0)
    kept = [sum(map(len, one.terms_N)) for one in (less, whole)]
    assert kept[0] / kept[1] == pytest.approx(1 - LEFT_OUT, abs=0.05)
    assert all(set(few) <= set(many) for few, many in zip(less.terms_N, whole.terms_N, strict=True))
    assert less.neighbour_NN.nnz / whole.neighbour_NN.nnz == pytest.approx(0.9, abs=0.07)
    total_N = less.neighbour_NN.sum(axis=1)
    assert np.allclose(total_N[total_N > 0], 1.0)
    assert (less.topology_NT == whole.topology_NT).all()
    assert thinned(whole, seed=0).terms_N == less.terms_N != thinned(whole, seed=1).terms_N


def test_pairs_are_of_known_items_that_were_acquired_together(catalogue):
    edges = catalogue.edges([("i001", "i002", 0.5), ("i002", "gone", 0.5), ("i003", "i003", 1.0)])
    pairs = co_acquired(edges, ["i001", "i002", "i003"])
    assert (pairs.one_P.tolist(), pairs.other_P.tolist(), pairs.weight_P.tolist()) == (
        [0],
        [1],
        [3],
    )
    other = catalogue.edges([("i001", "i002", 0.5)], kind="transition")
    assert co_acquired(other, ["i001", "i002"]).total == 0.0
    assert co_acquired(catalogue.edges(), ["i001"]).total == 0.0
