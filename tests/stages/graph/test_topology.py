"""Two versions of each measure, equal to each other and to what a hand computes."""

import numpy as np
import pytest
from scipy import sparse

from tessera.stages.graph import topology


def graph(n, edges):
    """Undirected graph from (a, b, weight)."""
    matrix = np.zeros((n, n))
    for a, b, weight in edges:
        matrix[a, b] = matrix[b, a] = weight
    return sparse.csr_array(matrix)


def random_graph(rng, n=80, links=300):
    matrix = np.zeros((n, n))
    matrix[rng.integers(0, n - 3, links), rng.integers(0, n - 3, links)] = rng.random(links)
    matrix = matrix + matrix.T
    np.fill_diagonal(matrix, 0.0)
    return sparse.csr_array(matrix)  # the last three items have no neighbour


@pytest.fixture
def barbell():
    """Two triangles and a tail: 0-1-2, 3-4-5, 2-3, 5-6; item 7 is alone."""
    edges = [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5), (5, 6)]
    return graph(8, [(*edge, 1.0) for edge in edges] + [(2, 3, 0.1)])


@pytest.mark.parametrize("measure", ["pagerank_I", "core_I", "clustering_I"])
def test_networkx_and_scipy_agree(rng, measure):
    for _ in range(3):
        weight = random_graph(rng)
        ours = getattr(topology.by_scipy(weight, 0.85, 0), measure)
        theirs = getattr(topology.by_networkx(weight, 0.85, 0), measure)
        assert np.ptp(ours) > 0
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


def test_degree_is_the_number_of_networkx_neighbours(rng):
    import networkx as nx

    weight = random_graph(rng)
    degree = dict(nx.from_scipy_sparse_array(weight).degree())
    assert np.diff(weight.indptr).tolist() == [degree[k] for k in range(80)]


@pytest.mark.parametrize("version", [topology.by_networkx, topology.by_scipy])
def test_measures_of_a_small_graph_by_hand(barbell, version):
    found = version(barbell, 0.85, 0)
    assert found.core_I.tolist() == [2, 2, 2, 2, 2, 2, 1, 0]
    expected = [1, 1, 1 / 3, 1 / 3, 1, 1 / 3, 0, 0]
    np.testing.assert_allclose(found.clustering_I, expected)
    assert found.pagerank_I.sum() == pytest.approx(1.0)
    assert found.pagerank_I[7] == found.pagerank_I.min()
    assert found.community_I[7] == -1
    assert len(set(found.community_I[[0, 1, 2]])) == 1
    assert len(set(found.community_I[[3, 4, 5]])) == 1
    assert found.community_I[0] != found.community_I[4]


@pytest.mark.parametrize("version", [topology.by_networkx, topology.by_scipy])
def test_communities_are_numbered_by_size_and_repeat_with_the_seed(rng, version):
    weight = random_graph(rng)
    label = version(weight, 0.85, 3).community_I
    assert label.tolist() == version(weight, 0.85, 3).community_I.tolist()
    size = np.bincount(label[label >= 0])
    assert size.min() > 0
    assert np.all(np.diff(size) <= 0)
    assert label[-3:].tolist() == [-1, -1, -1]


@pytest.mark.parametrize("version", [topology.by_networkx, topology.by_scipy])
@pytest.mark.parametrize("n", [0, 1, 3])
def test_graphs_without_edges_have_a_topology(version, n):
    found = version(sparse.csr_array((n, n)), 0.85, 0)
    np.testing.assert_allclose(found.pagerank_I, np.full(n, 1 / max(n, 1)))
    assert found.community_I.tolist() == [-1] * n
    assert found.core_I.tolist() == [0.0] * n


def test_neighbour_means_ignore_the_weights(barbell):
    mean = topology.neighbour_mean(barbell, np.arange(8.0))
    assert mean.tolist() == [1.5, 1.0, pytest.approx(4 / 3), pytest.approx(11 / 3), 4.0,
                             pytest.approx(13 / 3), 5.0, 0.0]  # fmt: skip
