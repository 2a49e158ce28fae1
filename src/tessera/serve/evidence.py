"""What may be said of an item to whoever holds others: the edges of a bundle, read once.

A cause is told of an edge that stands among all causal edges that lead to the item, and whose own
sign is hardly wrong; of any other edge only what was seen.

Shapes: I items of a bundle in the order of its table, E edges, M edges from what is held, H of them
to what is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from scipy import sparse

from tessera.bundles.edges import CAUSAL, KINDS, Edges
from tessera.contracts.arrays import Bools, Float64s, Int8s, Int32s, Ints
from tessera.contracts.tables import MOST_FALSE_SIGNS
from tessera.serve.shelf import Shelf

WORDS = (
    "holding {held} is estimated to raise the chance of buying it",
    "often bought right after {held}, which you hold",
    "held by investors who also hold {held}",
    "bought later by investors who held {held}, as you do",
)
"""What may be said of an edge, the most telling first."""
_CAUSE, _NONE = 0, -1
"""Place of a cause in `WORDS`; the kinds follow in their order."""
_NO_EDGES = pa.table({name: pa.array([], pa.string()) for name in ("source_id", "target_id")})
_NO_EDGES = _NO_EDGES.append_column("weight", pa.array([], pa.float64()))
MOST_FALSE_DISCOVERIES = 0.10
"""Share of wrong ones among what is found of an item, on average."""


@dataclass(frozen=True, slots=True)
class Edge:
    """The strongest edge from what is held to an item."""

    source: int
    """Row I of what is held."""
    target: int
    words: int
    """Which of `WORDS` hold."""
    kind: str
    weight: float
    false_sign_rate: float
    """NaN where it is no causal edge."""
    support: int
    """Investors behind it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What may be told of the edges of a bundle."""

    edges: Edges
    words_E: Int8s
    """Which of `WORDS` hold, `_NONE` where nothing may be told."""
    rank_I: Ints

    @classmethod
    def of(cls, edges: Edges | None, shelf: Shelf) -> Self:
        """Say what may be told of each edge; None has none."""
        edges = Edges.of(_NO_EDGES, shelf) if edges is None else edges
        is_causal_E = edges.kind_E == KINDS.index(CAUSAL)
        words_E = edges.kind_E + np.int8(1)
        words_E[_causes(is_causal_E, edges.target_E, edges.rate_E)] = _CAUSE
        words_E[~((edges.kind_E >= 0) & (edges.weight_E > 0))] = _NONE
        return cls(edges, words_E, shelf.rank_I)

    def strongest(self, held: Ints, shown: Ints) -> dict[int, Edge]:
        """Return the most telling edge from any of the rows held to each of those shown."""
        return {target: edges[0] for target, edges in self.every(held, shown).items()}

    def every(self, held: Ints, shown: Ints) -> dict[int, list[Edge]]:
        """Return all edges from rows held to each of those shown, the most telling first."""
        first_I1 = self.edges.first_I1
        starts, stops = first_I1[held], first_I1[held + 1]
        edge_M = np.concatenate(
            [np.arange(*ends) for ends in zip(starts, stops, strict=True)] or [np.zeros(0, int)]
        )
        source_M = np.repeat(held, stops - starts)
        is_hit_M = (self.words_E[edge_M] != _NONE) & np.isin(self.edges.target_E[edge_M], shown)
        edge_H, source_H = edge_M[is_hit_M], source_M[is_hit_M]
        order = -self.edges.weight_E[edge_H], self.words_E[edge_H]
        found: dict[int, list[Edge]] = {}
        for one in np.lexsort((self.rank_I[source_H], *order)).tolist():
            edge = self._edge(int(edge_H[one]), int(source_H[one]))
            found.setdefault(edge.target, []).append(edge)
        return found

    def _edge(self, edge: int, source: int) -> Edge:
        every = self.edges
        return Edge(
            source,
            int(every.target_E[edge]),
            int(self.words_E[edge]),
            KINDS[every.kind_E[edge]],
            float(every.weight_E[edge]),
            float(every.rate_E[edge]),
            int(every.support_E[edge]),
        )


def discoveries(rate_E: Float64s, item_E: Ints | Int32s, level: float) -> Bools:
    """Tell which stand by the step-up rule of Benjamini and Hochberg among those of their item.

    Of m rates of an item, ascending, all up to the last i-th that is at most level i / m stand.

    >>> discoveries(np.array([0.06, 0.05, 0.2, 0.04]), np.array([7, 7, 7, 9]), 0.1)
    array([ True,  True, False,  True])
    """
    of_E = np.bincount(item_E)[item_E] if len(item_E) else item_E
    low_L = np.flatnonzero(rate_E <= level)  # a rate above it stands in no family of any size
    order_L = low_L[_by_item(rate_E[low_L], item_E[low_L])]
    item_S, rate_S = item_E[order_L], rate_E[order_L]
    start_S = np.flatnonzero(np.diff(item_S, prepend=-1))
    start_S = np.repeat(start_S, np.diff(start_S, append=len(item_S)))
    place_S = np.arange(1, len(item_S) + 1) - start_S
    last_S = np.zeros(len(item_S), np.int64)
    fits_S = rate_S <= level * place_S / of_E[order_L]
    np.maximum.at(last_S, start_S[fits_S], place_S[fits_S])
    stands_E = np.zeros(len(item_E), np.bool_)
    stands_E[order_L] = place_S <= last_S[start_S]
    return stands_E


def _by_item(rate_L: Float64s, item_L: Ints | Int32s) -> Ints:
    """Return the order by item, then by rate; grouping by counts beats sorting millions."""
    order_L = np.argsort(rate_L)
    shape = int(item_L.max(initial=0)) + 1, len(item_L)
    entries = np.ones(len(item_L), np.bool_), (item_L[order_L], np.arange(len(item_L)))
    return np.asarray(order_L[sparse.csr_matrix(entries, shape).indices])


def _causes(is_causal_E: Bools, target_E: Int32s, rate_E: Float64s) -> Bools:
    """Tell of which edges a cause may be told; one that does not say how sure it is counts."""
    told_E = np.zeros(len(is_causal_E), np.bool_)
    rate_C = np.nan_to_num(rate_E[is_causal_E], nan=1.0)
    stands_C = discoveries(rate_C, target_E[is_causal_E], MOST_FALSE_DISCOVERIES)
    told_E[is_causal_E] = stands_C & (rate_C <= MOST_FALSE_SIGNS)
    return told_E
