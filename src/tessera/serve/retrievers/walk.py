"""A walk of two steps along the edges of a bundle, from what an investor holds and did lately."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from tessera.bundles.edges import Edges
from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.serve.investors import Investor
from tessera.serve.retrieval import Found
from tessera.serve.shelf import Shelf

_SECOND = 0.5
"""What an item that two steps lead to counts, beside one that a single step leads to."""


class _At(NamedTuple):
    """Where walks are, and the chance of each."""

    row_N: Ints
    chance_N: Float64s


@dataclass(frozen=True, slots=True)
class Walk:
    """Edges to go along, those of all kinds by their weight; few items of all are on the way."""

    shelf: Shelf
    edges: Edges
    total_I: Float64s
    """Weight of all edges from an item, 1 where there are none."""
    dear: ClassVar[bool] = True
    """Left out where time is short."""

    def retrieve(self, who: Investor, eligible_I: Bools, most: int) -> Found | None:
        """Return where the walk ends most often; None for whoever nothing is known of."""
        first = self._step(self._start(who))
        second = self._step(first)
        row_N = np.concatenate([first.row_N, second.row_N])
        reached = self._each(row_N, np.append(first.chance_N, _SECOND * second.chance_N))
        if not len(reached.row_N):
            return None
        is_open_N = eligible_I[reached.row_N]
        row_C, chance_C = reached.row_N[is_open_N], reached.chance_N[is_open_N]
        return Found.best(row_C, chance_C, self.shelf.rank_I, most)

    def _start(self, who: Investor) -> _At:
        """Start half of the walks from what is held, half from what was done lately."""
        parts = [self.shelf.rows(items) for items in (who.held, who.recent)]
        chances = [np.full(len(part), 0.5 / max(len(part), 1)) for part in parts]
        return _At(np.concatenate(parts), np.concatenate(chances))

    def _step(self, at: _At) -> _At:
        """Go along every edge that leads away, by its share of the weight."""
        edges, first_I1 = self.edges, self.edges.first_I1
        starts, stops = first_I1[at.row_N], first_I1[at.row_N + 1]
        every = [np.arange(*ends) for ends in zip(starts, stops, strict=True)]
        edge_M = np.concatenate(every or [np.zeros(0, np.int64)])
        chance_M = np.repeat(at.chance_N / self.total_I[at.row_N], stops - starts)
        weight_M = edges.weight_E[edge_M]
        is_edge_M = np.isfinite(weight_M)
        target_M = edges.target_E[edge_M].astype(np.int64)
        return self._each(target_M[is_edge_M], (chance_M * weight_M)[is_edge_M])

    def _each(self, row_M: Ints, chance_M: Float64s) -> _At:
        """Sum up what leads to the same item, items in the order of their ids."""
        _, first_N, at_M = np.unique(
            self.shelf.rank_I[row_M], return_index=True, return_inverse=True
        )
        chance_N = np.bincount(at_M, chance_M, len(first_N)).astype(np.float64)
        return _At(row_M[first_N], chance_N)


def open_retriever(bundle: Path, shelf: Shelf) -> Walk | None:
    """Read the edges; None if the bundle has none."""
    edges = shelf.edges(bundle)
    if edges is None:
        return None
    stop = int(edges.first_I1[-1])
    source_E = np.repeat(np.arange(len(shelf.ids), dtype=np.int32), np.diff(edges.first_I1))
    weight_E = np.nan_to_num(edges.weight_E[:stop], nan=0.0, posinf=0.0, neginf=0.0)
    total_I = np.bincount(source_E, weight_E, len(shelf.ids))
    return Walk(shelf, edges, np.where(total_I > 0, total_I, 1.0))
