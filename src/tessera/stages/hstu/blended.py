"""Lists by walks along edges, and by several sources that share the places.

The shares are params: they were learnt by `tessera mix` from what came after an earlier cut, so
nothing that the lists are held against chose them.

Legend: Q people who are asked, V items with padding first, I items without it, K list length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ibis
import numpy as np
import pyarrow as pa

from tessera.bundles.edges import KINDS, Edges, ranks
from tessera.bundles.walks import declared, walk_from, walk_graph
from tessera.contracts.arrays import Ints
from tessera.contracts.tables import GENERATIVE, WALK
from tessera.model.nn.batch import PADDING
from tessera.model.params import HstuParams
from tessera.model.sequences.questions import Lists, Question
from tessera.shared.metrics.ranking import top_items
from tessera.shared.policies.shares import in_turn, places

AGAINST = ("dismiss", "sell")
"""Actions after which nobody starts from an item."""


@dataclass(frozen=True, slots=True)
class _Items:
    """See `Ids`."""

    id_I: pa.Array
    rank_I: Ints


_LISTED = {"dense": "", "walk": WALK, "generated": GENERATIVE}
"""What stands behind the kind of the model in the name of a source's lists."""


def blended(found: Mapping[str, Lists], params: HstuParams) -> Lists:
    """List what the sources of `blend` found together, from their lists by the ends of names."""
    shares = {str(name): share for name, share in params.blend.items()}
    return shared({name: found[_LISTED[name]] for name in shares}, shares, params.top)


def walked(
    asked: Question,
    lately: tuple[Ints, Ints],
    vocabulary: list[str],
    edges: ibis.Table,
    top: int,
) -> Lists:
    """List where walks along the graph's edges end, from what each had and met lately.

    Parameters
    ----------
    lately
        Pairs (row, item) of what was met, in order, but `AGAINST`.
    vocabulary
        Items by row, without padding.
    edges
        Of the graph.
    top
        Length of a list.
    """
    id_I = pa.array(vocabulary, pa.string())
    ids = _Items(id_I, ranks(id_I))
    between = edges.filter(edges.kind.isin(KINDS) & (edges.weight > 0))
    columns = ["source_id", "target_id", "kind", "weight"]
    order = ["source_id", "kind", "target_id"]
    laid = Edges.of(between.select(columns).order_by(order).to_pyarrow(), ids)
    graph = walk_graph(laid, declared(edges).to_pyarrow(), ids)
    items_QK = np.full((len(asked.user_Q), top), PADDING)
    score_QK = np.full((len(asked.user_Q), top), -np.inf, np.float32)
    for q in range(len(asked.user_Q)):
        held, recent = _of(asked.seen, q) - 1, _of(lately, q) - 1
        row_R, chance_R = walk_from(graph, held, recent, len(vocabulary))
        score_V = np.full(len(vocabulary) + 1, -np.inf, np.float32)
        score_V[row_R + 1] = chance_R
        score_V[~asked.allowed_V] = -np.inf
        score_V[held + 1] = -np.inf
        found_K = top_items(score_V[None], min(top, len(score_V)))[0]
        found_K = found_K[found_K >= 0]
        items_QK[q, : len(found_K)], score_QK[q, : len(found_K)] = found_K, score_V[found_K]
    return Lists(items_QK, score_QK)


def _of(pairs: tuple[Ints, Ints] | None, q: int) -> Ints:
    """Return the items of one row, of pairs sorted by row; none where there are no pairs."""
    if pairs is None:
        return np.zeros(0, np.int64)
    first, stop = np.searchsorted(pairs[0], [q, q + 1])
    return pairs[1][first:stop]


def shared(lists: Mapping[str, Lists], shares: Mapping[str, float], top: int) -> Lists:
    """Fill the places of one list from several by their shares, each item once.

    What another one found already gives its place to the next item, and what one lacks goes to the
    others in their order.  Scores fall by place.  With half of two places for each, the lists
    (7, 8) and (7, 9) make (7, 9).
    """
    dealt = places(shares, top)
    people = len(next(iter(lists.values())).item_UK)
    item_QK = np.full((people, top), PADDING)
    for q in range(people):
        row = _shared_row({name: one.item_UK[q] for name, one in lists.items()}, dealt, shares)
        item_QK[q, : len(row)] = row
    score_K = 1.0 / np.arange(1, top + 1, dtype=np.float32)
    return Lists(item_QK, np.where(item_QK == PADDING, np.float32(-np.inf), score_K))


def _shared_row(
    found: Mapping[str, Ints], dealt: Mapping[str, int], shares: Mapping[str, float]
) -> list[int]:
    """Fill the places of one person."""
    taken: dict[int, str] = {}
    top = sum(dealt.values())
    for name, wanted in (*dealt.items(), *((name, top) for name in dealt)):
        fresh = [item for item in found[name].tolist() if item != PADDING and item not in taken]
        for item in fresh[: min(wanted, top - len(taken))]:
            taken[item] = name
    items = list(taken)
    return [items[at] for at in in_turn(list(taken.values()), shares).tolist()]
