"""What may be said of an item to whoever holds others: the edges of a bundle, read once.

A cause is told of an edge that stands among all causal edges that lead to the item, and whose own
sign is hardly wrong; of any other edge only what was seen.

Shapes: I items of a bundle in the order of its table, E edges, M edges from what is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.tables import MOST_FALSE_SIGNS
from tessera.serve.shelf import Shelf

CAUSAL = "causal"
WORDS = (
    "holding {held} is estimated to raise the chance of buying it",
    "often bought right after {held}, which you hold",
    "held by investors who also hold {held}",
    "bought later by investors who held {held}, as you do",
)
"""What may be said of an edge, the most telling first."""
_CAUSE, _KINDS = 0, ("transition", "co_acquired", CAUSAL)
"""Place of a cause in `WORDS`, and kinds of edges in the order of the words behind it."""
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
    """Edges by where they come from, the most telling first."""

    first_I1: Ints
    """Edges from item i are `first_I1[i] : first_I1[i + 1]`."""
    target_E: Ints
    place_E: Ints
    """Place of each edge in the order of what is told rather."""
    words_E: Ints
    kind_E: Ints
    """Index into `_KINDS`."""
    weight_E: Float64s
    rate_E: Float64s
    support_E: Ints

    @classmethod
    def of(cls, edges: pa.Table | None, shelf: Shelf) -> Self:
        """Lay out the edges between items of a bundle; None has none."""
        if edges is None:
            edges = pa.table({name: [] for name in ("source_id", "target_id", "kind", "weight")})
        source_E, target_E = (_found(edges[name], shelf.ids) for name in ("source_id", "target_id"))
        kind_E = _found(edges["kind"], _KINDS)
        weight_E = edges["weight"].to_numpy().astype(np.float64)
        is_told_E = (source_E >= 0) & (target_E >= 0) & (weight_E > 0)
        is_told_E &= kind_E >= 0
        rate_E = _column(edges, "false_sign_rate", np.nan)
        words_E = kind_E + 1
        is_causal_E = kind_E == _KINDS.index(CAUSAL)
        words_E[is_told_E & _causes(is_causal_E, target_E, rate_E)] = _CAUSE
        best_E = np.lexsort((shelf.rank_I[source_E], -weight_E, words_E))
        place_E = np.empty(len(best_E), np.int64)
        place_E[best_E] = np.arange(len(best_E))
        order_E = np.flatnonzero(is_told_E)
        order_E = order_E[np.lexsort((place_E[order_E], source_E[order_E]))]
        return cls(
            np.searchsorted(source_E[order_E], np.arange(len(shelf.ids) + 1)),
            target_E[order_E],
            place_E[order_E],
            words_E[order_E],
            kind_E[order_E],
            weight_E[order_E],
            rate_E[order_E],
            _column(edges, "support", 0.0)[order_E].astype(np.int64),
        )

    def strongest(self, held: Ints, shown: Ints) -> dict[int, Edge]:
        """Return the most telling edge from any of the rows held to each of those shown."""
        return {target: edges[0] for target, edges in self.every(held, shown).items()}

    def every(self, held: Ints, shown: Ints) -> dict[int, list[Edge]]:
        """Return all edges from rows held to each of those shown, the most telling first."""
        starts, stops = self.first_I1[held], self.first_I1[held + 1]
        edge_M = np.concatenate(
            [np.arange(*ends) for ends in zip(starts, stops, strict=True)] or [np.zeros(0, int)]
        )
        source_M = np.repeat(held, stops - starts)
        hits = np.flatnonzero(np.isin(self.target_E[edge_M], shown))
        found: dict[int, list[Edge]] = {}
        for one in hits[np.argsort(self.place_E[edge_M[hits]])].tolist():
            edge = self._edge(int(edge_M[one]), int(source_M[one]))
            found.setdefault(edge.target, []).append(edge)
        return found

    def _edge(self, edge: int, source: int) -> Edge:
        return Edge(
            source,
            int(self.target_E[edge]),
            int(self.words_E[edge]),
            _KINDS[self.kind_E[edge]],
            float(self.weight_E[edge]),
            float(self.rate_E[edge]),
            int(self.support_E[edge]),
        )


def discoveries(rate_E: Float64s, item_E: Ints, level: float) -> Bools:
    """Tell which stand by the step-up rule of Benjamini and Hochberg among those of their item.

    Of m rates of an item, ascending, all up to the last i-th that is at most level i / m stand.

    >>> discoveries(np.array([0.06, 0.05, 0.2, 0.04]), np.array([7, 7, 7, 9]), 0.1)
    array([ True,  True, False,  True])
    """
    order_E = np.lexsort((rate_E, item_E))
    item_S, rate_S = item_E[order_E], rate_E[order_E]
    start_S = np.searchsorted(item_S, item_S)
    place_S = np.arange(1, len(item_S) + 1) - start_S
    of_S = np.searchsorted(item_S, item_S, side="right") - start_S
    last_S = np.zeros(len(item_S), np.int64)
    np.maximum.at(last_S, start_S, np.where(rate_S <= level * place_S / of_S, place_S, 0))
    stands_E = np.empty(len(item_S), np.bool_)
    stands_E[order_E] = place_S <= last_S[start_S]
    return stands_E


def _causes(is_causal_E: Bools, target_E: Ints, rate_E: Float64s) -> Bools:
    """Tell of which edges a cause may be told; one that does not say how sure it is counts."""
    told_E = np.zeros(len(is_causal_E), np.bool_)
    rate_C = np.nan_to_num(rate_E[is_causal_E], nan=1.0)
    stands_C = discoveries(rate_C, target_E[is_causal_E], MOST_FALSE_DISCOVERIES)
    told_E[is_causal_E] = stands_C & (rate_C <= MOST_FALSE_SIGNS)
    return told_E


def _found(column: pa.ChunkedArray, among: Sequence[str]) -> Ints:
    """Return the place of each among some, -1 of others."""
    place_E = pc.fill_null(pc.index_in(column.cast(pa.string()), pa.array(among, pa.string())), -1)
    return np.asarray(place_E.to_numpy(), np.int64)


def _column(edges: pa.Table, name: str, missing: float) -> Float64s:
    """Return a column as numbers; bundles of old lack some."""
    if name not in edges.column_names:
        return np.full(len(edges), missing)
    column = edges[name].cast(pa.float64()).fill_null(missing)
    return np.asarray(column.to_numpy(), np.float64)
