"""What is approximated by pushing is as near to the exact chances as it says."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from scipy import sparse

from tessera.shared.push import Graph, Steps, push

NODES, RESTART = 60, 0.3


def weights(rng, *, both_ways, share=0.08):
    """Random weights of an own scale for each node; some nodes have no edge."""
    scale_N = 10.0 ** rng.uniform(-2, 2, NODES)
    weight_NN = (rng.random((NODES, NODES)) < share) * rng.random((NODES, NODES)) * scale_N
    np.fill_diagonal(weight_NN, 0.0)
    weight_NN[: NODES // 10] = 0.0
    if both_ways:
        weight_NN[:, : NODES // 10] = 0.0
        weight_NN = weight_NN + weight_NN.T
    return sparse.csr_array(weight_NN)


def steps(weight_NN):
    return Steps(
        weight_NN.indptr.astype(np.int64), weight_NN.indices.astype(np.int32), weight_NN.data
    )


def exact(weight_NN, mass_N, restart=RESTART):
    """Sum up the chances to end at each node after 1, 2, ... steps, until they move no more."""
    total_N = weight_NN.sum(axis=1)
    step_NN = sparse.diags_array(1 / np.where(total_N > 0, total_N, 1.0)) @ weight_NN
    chance_N, at_N = np.zeros(NODES), mass_N
    for _ in range(400):
        at_N = (1 - restart) * (step_NN.T @ at_N)
        chance_N += restart * at_N
    return chance_N


def spread(weight_NN, mass_N, error, restart=RESTART):
    graph = Graph.of([steps(weight_NN)], np.arange(NODES))
    start_S = np.flatnonzero(mass_N)
    found = push(graph, start_S, mass_N[start_S], restart, error)
    chance_N = np.zeros(NODES)
    chance_N[found.row_R] = found.chance_R
    return chance_N, found.left


def start(rng):
    return rng.random(NODES) * (rng.random(NODES) < 0.1)


@pytest.mark.parametrize("error", [1e-2, 1e-3, 1e-5])
@pytest.mark.parametrize("seed", range(8))
def test_where_edges_lead_both_ways_the_error_is_at_most_the_degree_times_epsilon(seed, error):
    rng = np.random.default_rng(seed)
    weight_NN, mass_N = weights(rng, both_ways=True), start(rng)
    found_N, left = spread(weight_NN, mass_N, error)
    short_N = exact(weight_NN, mass_N) - found_N
    assert (short_N >= -1e-12).all(), "never more than the exact chance"
    assert (short_N <= error * weight_NN.sum(axis=1) + 1e-12).all()
    assert short_N.sum() <= left + 1e-12


@pytest.mark.parametrize("error", [1e-2, 1e-3, 1e-5])
@pytest.mark.parametrize("seed", range(8))
def test_where_edges_lead_one_way_the_error_is_at_most_what_all_degrees_spread(seed, error):
    rng = np.random.default_rng(seed)
    weight_NN, mass_N = weights(rng, both_ways=False), start(rng)
    found_N, left = spread(weight_NN, mass_N, error)
    short_N = exact(weight_NN, mass_N) - found_N
    degree_N = weight_NN.sum(axis=1)
    assert (short_N >= -1e-12).all()
    assert (short_N <= error * (RESTART * degree_N + exact(weight_NN, degree_N)) + 1e-12).all(), (
        "the weights of all edges, spread by the same walk"
    )
    assert short_N.sum() <= left + 1e-12


@pytest.mark.parametrize("both_ways", [True, False])
def test_with_a_small_error_it_is_what_networkx_finds(both_ways, rng):
    weight_NN = weights(rng, both_ways=both_ways)
    alive_N = weight_NN.sum(axis=1) > 0
    graph = nx.from_scipy_sparse_array(weight_NN, create_using=nx.DiGraph)
    mass_N = np.where(np.arange(NODES) % 7 == 0, 1.0, 0.0) * alive_N
    rank = nx.pagerank(
        graph, 1 - RESTART, dict(enumerate(mass_N)), tol=1e-14, max_iter=1000
    )  # a walk that cannot go on starts anew there, which scales all chances alike
    wanted_N = np.array([rank[node] for node in range(NODES)])
    found_N = spread(weight_NN, mass_N / mass_N.sum(), 1e-12)[0] + RESTART * mass_N / mass_N.sum()
    np.testing.assert_allclose(found_N / found_N.sum(), wanted_N, atol=1e-8)


def test_a_line_of_three_by_hand():
    weight_33 = sparse.csr_array([[0, 2.0, 0], [2.0, 0, 5.0], [0, 5.0, 0]])
    graph = Graph.of([steps(weight_33)], np.arange(3))
    even = sparse.csr_array([[0, 1.0, 0], [1.0, 0, 1.0], [0, 1.0, 0]])
    found = push(Graph.of([steps(even)], np.arange(3)), np.array([0]), np.ones(1), 0.5, 1e-12)
    np.testing.assert_allclose(found.chance_R, [7 / 12 - 1 / 2, 4 / 12, 1 / 12], atol=1e-9)
    once = push(graph, np.array([0]), np.ones(1), 0.5, 1.0)
    assert (once.row_R.tolist(), once.chance_R.tolist(), once.left) == ([1], [0.25], 0.25)


def test_a_larger_error_looks_at_fewer_edges(rng, monkeypatch):
    weight_NN, mass_N = weights(rng, both_ways=True), np.eye(NODES)[20]
    looked, flow = [], Graph.flow

    def seen(graph, row_A, mass_A):
        looked.append(graph.total_N[row_A].sum())
        return flow(graph, row_A, mass_A)

    monkeypatch.setattr(Graph, "flow", seen)
    for error in (1e-1, 1e-3, 1e-5):
        looked.clear()
        spread(weight_NN, mass_N, error)
        assert sum(looked[1:]) <= 1 / (RESTART * error), "beside the edges of where it starts"


def test_the_numbers_of_the_nodes_change_no_byte(rng):
    weight_NN, mass_N = weights(rng, both_ways=False), start(rng)
    order = rng.permutation(NODES)
    rank_N = np.argsort(order)
    moved = sparse.csr_array(weight_NN[rank_N][:, rank_N])
    one, other = Graph.of([steps(weight_NN)], np.arange(NODES)), Graph.of([steps(moved)], rank_N)
    start_S = np.flatnonzero(mass_N)
    found = push(one, start_S, mass_N[start_S], RESTART, 1e-6)
    again = push(other, order[start_S], mass_N[start_S], RESTART, 1e-6)
    chance = dict(zip(found.row_R.tolist(), found.chance_R.tolist(), strict=True))
    assert {
        int(rank_N[row]): one for row, one in zip(again.row_R, again.chance_R, strict=True)
    } == chance


@pytest.mark.parametrize("weight", [np.nan, np.inf, -np.inf, -2.0, 0.0])
def test_edges_in_two_arrays_are_those_of_one_and_what_is_no_weight_is_none(rng, weight):
    weight_NN, mass_N = weights(rng, both_ways=False), start(rng)
    start_S = np.flatnonzero(mass_N)
    whole = push(
        Graph.of([steps(weight_NN)], np.arange(NODES)), start_S, mass_N[start_S], 0.3, 1e-6
    )
    split = NODES // 2
    first = Steps(*steps(weight_NN[:split]))
    second = steps(sparse.vstack([0 * weight_NN[:split], weight_NN[split:]]).tocsr())
    parts = push(Graph.of([first, second], np.arange(NODES)), start_S, mass_N[start_S], 0.3, 1e-6)
    np.testing.assert_array_equal(parts.row_R, whole.row_R)
    np.testing.assert_allclose(parts.chance_R, whole.chance_R, rtol=1e-12)
    broken = steps(weight_NN)
    broken.weight_E[3] = weight
    without = weight_NN.copy()
    without.data = np.where(np.arange(weight_NN.nnz) == 3, 0.0, broken.weight_E)
    without.eliminate_zeros()
    found, wanted = (
        push(Graph.of([one], np.arange(NODES)), start_S, mass_N[start_S], 0.3, 1e-6)
        for one in (broken, steps(without))
    )
    np.testing.assert_allclose(found.chance_R, wanted.chance_R, rtol=1e-12)


def test_who_starts_nowhere_ends_nowhere():
    none = Graph.of(
        [Steps(np.zeros(4, np.int64), np.zeros(0, np.int32), np.zeros(0))], np.arange(3)
    )
    for rows in ([], [1]):
        found = push(none, np.array(rows, np.int64), np.ones(len(rows)), 0.5, 1e-3)
        assert (len(found.row_R), found.left) == (0, 0.0)
