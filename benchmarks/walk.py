"""How near pushing comes to the exact walk, and what it costs, beside a walk of two steps.

Usage: python -m benchmarks.walk [--edges 10000 100000 1000000] [--requests 200] [--seed 0]

Edges are drawn: twenty leave each item, more often to what is much linked, and weights are spread
over two orders of magnitude.  Who asks holds ten items and met thirty.  Exact are the chances of
the same walk after as many steps as still move anything.  On one thread.

Legend: I items, Q requests, S items that a walk starts from.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from benchmarks.common import Kept, each, machine, write_result
from tessera.bundles.walks import ERROR, RESTART
from tessera.contracts.arrays import Float64s, Ints
from tessera.shared.push import Graph, Steps, push

LEAVING, HELD, MET, TOP = 20, 10, 30, 40
ERRORS = (1e-2, 1e-3, 1e-4, 1e-5)
_SECOND = 0.5
"""What the second step of the walk of two steps counts."""
_EXACT = 1e-14
"""Mass below which a step moves nothing."""


class Answer(NamedTuple):
    """Where a walk ends: rows, scores, and by how much it says that they fall short together."""

    row_R: Ints
    score_R: Float64s
    left: float = float("nan")


Walk = Callable[[Ints], Answer]
"""From the items where it starts to where it ends."""


def drawn(edges: int, seed: int) -> sparse.csr_array:
    """Draw the weights between items; whoever is drawn twice has one edge of both weights."""
    rng = np.random.default_rng(seed)
    items = edges // LEAVING
    popular_I = (rng.permutation(items) + 1.0) ** -0.8
    target_E = rng.choice(items, edges, p=popular_I / popular_I.sum())
    weight_E = 10.0 ** rng.uniform(-2, 0, edges)
    source_E = np.repeat(np.arange(items), LEAVING)
    return sparse.csr_array((weight_E, (source_E, target_E)), shape=(items, items))


def mass(start_S: Ints) -> Float64s:
    """Start half of the walks from what is held, half from what was met."""
    return np.repeat([0.5 / HELD, 0.5 / MET], [HELD, MET])[: len(start_S)]


def by_pushing(graph: Graph, error: float) -> Walk:
    """Return the walk of the service at an error."""
    return lambda start_S: Answer(*push(graph, start_S, mass(start_S), RESTART, error))


def in_two_steps(step_II: sparse.csr_array) -> Walk:
    """Return the walk of two steps that pushing took the place of, in sparse products."""

    def walk(start_S: Ints) -> Answer:
        at_1I = sparse.csr_array(
            (mass(start_S), (np.zeros(len(start_S), int), start_S)), shape=(1, step_II.shape[0])
        )
        first_1I = at_1I @ step_II
        both_1I = first_1I + _SECOND * (first_1I @ step_II)
        return Answer(both_1I.indices.astype(np.int64), both_1I.data)

    return walk


def exactly(step_II: sparse.csr_array) -> Walk:
    """Return the walk that goes on until nothing moves."""
    back_II = step_II.T.tocsr()

    def walk(start_S: Ints) -> Answer:
        at_I = np.bincount(start_S, mass(start_S), step_II.shape[0])
        chance_I = np.zeros(len(at_I))
        while at_I.sum() > _EXACT:
            at_I = (1 - RESTART) * (back_II @ at_I)
            chance_I += RESTART * at_I
        return Answer(np.arange(len(chance_I)), chance_I)

    return walk


def measured(asked: tuple[int, int, int]) -> dict[str, Any]:
    """Draw a graph, and compare each walk with the exact one and with the clock."""
    edges, requests, seed = asked
    weight_II = drawn(edges, seed)
    items = weight_II.shape[0]
    rng = np.random.default_rng([seed, 1])
    starts = [rng.choice(items, HELD + MET, replace=False) for _ in range(requests)]
    steps = Steps(weight_II.indptr.astype(np.int64), weight_II.indices, weight_II.data)
    graph = Graph.of([steps], np.arange(items))
    step_II = (sparse.diags_array(1 / weight_II.sum(axis=1)) @ weight_II).tocsr()
    exact, ways = exactly(step_II), {f"{error:g}": by_pushing(graph, error) for error in ERRORS}
    every = {**ways, "two steps": in_two_steps(step_II)}
    wanted = [exact(start_S).score_R for start_S in starts]
    told = {name: _compared(walk, starts, wanted) for name, walk in every.items()}
    return {"edges": weight_II.nnz, "items": items, "walks": told}


def _compared(walk: Walk, starts: list[Ints], wanted: list[Float64s]) -> dict[str, float]:
    took_ms, short, left, same, reached = [], [], [], [], []
    for start_S, exact_I in zip(starts, wanted, strict=True):
        begun = time.process_time()
        found = walk(start_S)
        took_ms.append(1e3 * (time.process_time() - begun))
        score_I = np.zeros(len(exact_I))
        score_I[found.row_R] = found.score_R
        same.append(len(np.intersect1d(_first(score_I), _first(exact_I))) / TOP)
        short.append(float((exact_I - score_I).sum()))
        left.append(found.left)
        reached.append(len(found.row_R))
    p50, p99 = np.percentile(took_ms, [50, 99])
    scaled = not np.isnan(left).any()  # scores of two steps are no chances
    errors = {"short": float(np.mean(short)), "left": float(np.mean(left))} if scaled else {}
    return {
        "p50_ms": round(float(p50), 3),
        "p99_ms": round(float(p99), 3),
        "same": round(float(np.mean(same)), 4),
        "reached": round(float(np.mean(reached)), 1),
        **{name: round(value, 8) for name, value in errors.items()},
    }


def _first(score_I: Float64s) -> Ints:
    return np.argsort(-score_I, kind="stable")[:TOP]


def main() -> None:
    """Measure and write results/walk.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edges", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    pieces = [(edges, given.requests, given.seed) for edges in given.edges]
    found = each(measured, pieces, "graphs", Kept("walk", machine()))
    write_result("walk", {"graphs": found, "seed": given.seed, "requests": given.requests,
                          "served": f"{ERROR:g}", "restart": RESTART, "top": TOP, "held": HELD,
                          "met": MET, "leaving": LEAVING})  # fmt: skip


if __name__ == "__main__":
    main()
