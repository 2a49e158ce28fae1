"""Where each item stands among its neighbours: each measure by networkx and by scipy.

The neighbour graph is undirected, without loops, weights > 0.  Legend: I items.
"""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tessera.contracts.arrays import Float64s

_TOLERANCE = 1e-13
"""PageRank stops when the ranks move less than this an item, so that two versions agree."""
_ROUNDS = 1_000
_BLOCK = 1_024


@dataclass(frozen=True, slots=True)
class Topology:
    """One value an item."""

    pagerank_I: Float64s
    core_I: Float64s
    clustering_I: Float64s
    community_I: NDArray[np.int64]
    """Largest first; -1 for an item without neighbours."""


def by_networkx(weight_II: sparse.csr_array, damping: float, seed: int) -> Topology:
    """Topology by networkx; communities by Louvain."""
    graph = nx.from_scipy_sparse_array(weight_II)
    nodes = range(weight_II.shape[0])
    if len(nodes) == 0:
        return by_scipy(weight_II, damping, seed)
    rank = nx.pagerank(graph, alpha=damping, tol=_TOLERANCE, max_iter=_ROUNDS)
    core, clustering = nx.core_number(graph), nx.clustering(graph)
    label_I = np.zeros(len(nodes), np.int64)
    for label, members in enumerate(nx.community.louvain_communities(graph, seed=seed)):
        label_I[list(members)] = label
    return Topology(
        np.array([rank[node] for node in nodes]),
        np.array([core[node] for node in nodes], dtype=np.float64),
        np.array([clustering[node] for node in nodes], dtype=np.float64),
        _renumber(label_I, np.diff(weight_II.indptr) == 0),
    )


def by_scipy(weight_II: sparse.csr_array, damping: float, seed: int) -> Topology:
    """Topology by scipy; communities by label propagation, which is coarser than Louvain."""
    label_I = label_propagation(weight_II, seed)
    return Topology(
        pagerank(weight_II, damping),
        core_number(weight_II),
        clustering(weight_II),
        _renumber(label_I, np.diff(weight_II.indptr) == 0),
    )


def pagerank(weight_II: sparse.csr_array, damping: float) -> Float64s:
    """Power iteration; an item without neighbours starts anew anywhere."""
    n = weight_II.shape[0]
    if n == 0:
        return np.zeros(0)
    out_I = weight_II.sum(axis=1)
    dangling_I = out_I == 0
    step_II = (sparse.diags_array(1.0 / np.where(dangling_I, 1.0, out_I)) @ weight_II).T.tocsr()
    rank_I = np.full(n, 1.0 / n)
    for _ in range(_ROUNDS):
        lost = rank_I[dangling_I].sum()
        new_I = damping * (step_II @ rank_I + lost / n) + (1.0 - damping) / n
        moved = np.abs(new_I - rank_I).sum()
        rank_I = new_I
        if moved < n * _TOLERANCE:
            break
    return rank_I


def core_number(weight_II: sparse.csr_array) -> Float64s:
    """Largest k such that the item lies in a subgraph where everybody has k neighbours.

    Peels all items of too low degree at once (Batagelj & Zaversnik 2003, in rounds).
    """
    link_II = _links(weight_II)
    degree_I = link_II.sum(axis=1)
    core_I = np.zeros(len(degree_I))
    alive_I = np.ones(len(degree_I), bool)
    k = 0.0
    while alive_I.any():
        k = max(k, degree_I[alive_I].min())
        peeled_I = alive_I & (degree_I <= k)
        core_I[peeled_I] = k
        alive_I &= ~peeled_I
        degree_I -= link_II @ peeled_I.astype(np.float64)
    return core_I


def clustering(weight_II: sparse.csr_array) -> Float64s:
    """Share of an item's pairs of neighbours that are neighbours of each other."""
    link_II = _links(weight_II)
    degree_I = link_II.sum(axis=1)
    closed_I = np.zeros(len(degree_I))
    for first in range(0, len(degree_I), _BLOCK):  # in blocks: the square may be nearly full
        rows = link_II[first : first + _BLOCK]
        closed_I[first : first + _BLOCK] = (rows @ link_II).multiply(rows).sum(axis=1)
    possible_I = degree_I * (degree_I - 1.0)
    return np.asarray(closed_I / np.where(possible_I > 0, possible_I, 1.0), dtype=np.float64)


def label_propagation(
    weight_II: sparse.csr_array, seed: int, rounds: int = 30
) -> NDArray[np.int64]:
    """Communities by label propagation (Raghavan et al. 2007), half of the items a round.

    Ties go to the lowest label; updating a random half keeps labels from swapping for ever.
    """
    rng = np.random.default_rng(seed)
    n = weight_II.shape[0]
    label_I = np.arange(n)
    busy_I = np.diff(weight_II.indptr) > 0
    for _ in range(rounds):
        member_IC = sparse.csr_array((np.ones(n), (np.arange(n), label_I)), shape=(n, n))
        vote = (weight_II @ member_IC).tocoo()
        order = np.lexsort((vote.col, -vote.data, vote.row))
        row, best = np.unique(vote.row[order], return_index=True)
        new_I = label_I.copy()
        new_I[row] = vote.col[order][best]
        if np.array_equal(new_I, label_I):
            break
        turn_I = busy_I & (rng.random(n) < 0.5)
        label_I[turn_I] = new_I[turn_I]
    return label_I


def neighbour_mean(weight_II: sparse.csr_array, value_I: Float64s) -> Float64s:
    """Unweighted mean of a value over the neighbours; 0 without any."""
    link_II = _links(weight_II)
    degree_I = link_II.sum(axis=1)
    return np.asarray((link_II @ value_I) / np.maximum(degree_I, 1.0), dtype=np.float64)


def _links(weight_II: sparse.csr_array) -> sparse.csr_array:
    link_II = weight_II.copy()
    link_II.data = np.ones_like(link_II.data)
    return link_II


def _renumber(label_I: NDArray[np.int64], alone_I: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Renumber communities by size, then by first member; -1 for items without neighbours."""
    label, first, inverse, size = np.unique(
        label_I, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.empty(len(label), np.int64)
    size[np.unique(inverse[alone_I])] = 0  # alone: last, so that the numbers in use have no gap
    rank[np.lexsort((first, -size))] = np.arange(len(label))
    return np.where(alone_I, -1, rank[inverse])
