"""Approximate personalised PageRank by pushing: what is looked at grows with the error, not nodes.

Andersen, Chung and Lang 2006, "Local Graph Partitioning using PageRank Vectors", section 3, for
weighted edges that may lead one way; all nodes over the threshold are pushed at once.  A walk ends
at each node with the chance `restart`, else it takes an edge by its share of the weight.  Mass that
is not yet pushed waits at its node, and what a node holds for good is the chance that walks end
there, from below.

Of three nodes, 0 - 1 - 2 in a line, a walk from 0 that restarts half of the time ends at 0 with
chance 7/12, at 1 with 4/12 and at 2 with 1/12.

Legend: N nodes, E edges, S nodes where walks start, R nodes that are reached, A nodes that are
pushed together, M edges that lead away from these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from tessera.contracts.arrays import Bools, Float64s, Int32s, Ints


class Steps(NamedTuple):
    """Edges by row of their source."""

    first_N1: Ints
    """Edges from node n are `first_N1[n] : first_N1[n + 1]`; nodes behind the end have none."""
    target_E: Ints | Int32s
    weight_E: Float64s
    """Finite and above 0; any other edge is none."""


class Reached(NamedTuple):
    """Where walks end; each node once, in the order of the rows."""

    row_R: Ints
    chance_R: Float64s
    """Chance to end there after a step at least, from below: never more than the exact one."""
    left: float
    """By how much all chances together fall short of the exact ones, at most."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes and all edges between them, which may lie in several arrays."""

    parts: tuple[Steps, ...]
    total_N: Float64s
    """Weight of all edges from a node; 0 where walks can only end."""
    rank_N: Ints
    """Order in which nodes are pushed, so that their numbers change no byte."""

    @classmethod
    def of(cls, parts: Sequence[Steps], rank_N: Ints) -> Self:
        """Add up what leads away from each node."""
        total_N = np.zeros(len(rank_N))
        for part in parts:
            sources, stop = len(part.first_N1) - 1, int(part.first_N1[-1])
            source_E = np.repeat(np.arange(sources, dtype=np.int32), np.diff(part.first_N1))
            weight_E = part.weight_E[:stop]
            weight_E = np.where(_leads(weight_E), weight_E, 0.0)
            total_N[:sources] += np.bincount(source_E, weight_E, sources)
        return cls(tuple(parts), total_N, rank_N)

    def flow(self, row_A: Ints, mass_A: Float64s) -> tuple[Ints, Float64s]:
        """Return where the mass of some nodes goes along their edges, and how much of it."""
        share_A = mass_A / np.where(self.total_N[row_A] > 0, self.total_N[row_A], 1.0)
        targets, flows = [], []
        for part in self.parts:
            last = len(part.first_N1) - 1
            start_A = part.first_N1[np.minimum(row_A, last)]
            count_A = part.first_N1[np.minimum(row_A + 1, last)] - start_A
            behind_A = np.cumsum(count_A) - count_A
            edge_M = np.repeat(start_A - behind_A, count_A) + np.arange(int(count_A.sum()))
            weight_M = part.weight_E[edge_M]
            is_edge_M = _leads(weight_M)
            targets.append(part.target_E[edge_M[is_edge_M]].astype(np.int64))
            flows.append((np.repeat(share_A, count_A) * weight_M)[is_edge_M])
        return np.concatenate(targets), np.concatenate(flows)


def push(graph: Graph, start_S: Ints, mass_S: Float64s, restart: float, error: float) -> Reached:
    """Spread mass along the edges until none that waits is worth an edge.

    A node is pushed while more than `error` times the weight of its edges waits there.  Where each
    edge leads both ways with one weight, no chance falls short of the exact one by more than
    `error` times the weight of the edges of its node (their lemma 2 and its proof, which needs
    reversible walks).  Where edges lead one way the weights of all edges of all nodes, spread like
    mass by the same walk, take the place of the node's own.  In both cases `left` bounds the sum.

    Parameters
    ----------
    graph : Graph
        Where walks go; one that comes to a node without edges ends there for good, and the share
        `1 - restart` of it is nowhere.
    start_S, mass_S
        Where walks start, and how many; a node may stand there twice.
    restart : float
        Chance that a walk ends at each node, in (0, 1].
    error : float
        Above 0; at most 1 / (restart x error) weight is looked at for each unit of mass.
    """
    waiting_N, arrived_N = np.zeros(len(graph.rank_N)), np.zeros(len(graph.rank_N))
    np.add.at(waiting_N, start_S, mass_S)
    row_A = _in_order(start_S, graph.rank_N)
    while len(row_A):
        mass_A = (1.0 - restart) * waiting_N[row_A]
        waiting_N[row_A] = 0.0
        target_M, flow_M = graph.flow(row_A, mass_A)
        np.add.at(waiting_N, target_M, flow_M)
        np.add.at(arrived_N, target_M, flow_M)
        total_M = graph.total_N[target_M]
        row_A = _in_order(
            target_M[(waiting_N[target_M] > error * total_M) & (total_M > 0)], graph.rank_N
        )
    row_R = np.flatnonzero(arrived_N)
    waits_R = waiting_N[row_R] * (graph.total_N[row_R] > 0)
    return Reached(row_R, restart * arrived_N[row_R], float((1.0 - restart) * waits_R.sum()))


def _leads(weight_E: Float64s) -> Bools:
    return np.asarray((weight_E > 0.0) & (weight_E < np.inf))


def _in_order(row_M: Ints, rank_N: Ints) -> Ints:
    """Return each row once, in the order of the ranks."""
    _, first = np.unique(rank_N[row_M], return_index=True)
    return row_M[first]
