"""What an investor holds at a request, and how the graph links it with a candidate.

Shapes: R requests, Q candidates of all, H held items.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrays import Ints
from tessera.shared.features.facts import BOUGHT, Columns, Facts, Queries

MOST_HELD = 10
"""Most recent purchases that are looked up in the graph."""
LINKS = ("co_acquired", "transition")
"""Item-item edges that say what goes together."""
EDGE_KINDS = (*LINKS, "causal")
"""All item-item edges."""


def held(facts: Facts, user_R: Ints, moment_R: Ints) -> Ints:
    """Return held_RH: the most recent purchases not sold again before the request, else 0."""
    index, buys = facts.by_user(BOUGHT), facts.rows(*BOUGHT)
    first_R, stop_R = index.stretch(user_R, facts.clock.rank(moment_R))
    at_RH = stop_R[:, None] - 1 - np.arange(MOST_HELD)
    real_RH = at_RH >= first_R[:, None]
    if not len(buys):
        return np.zeros(at_RH.shape, np.int64)
    row_RH = index.order_E[np.where(real_RH, at_RH, 0)]
    real_RH &= facts.sold_B[row_RH] >= moment_R[:, None]
    return np.where(real_RH, facts.item_E[buys[row_RH]], 0)


def held_of_candidates(facts: Facts, asked: Queries) -> Ints:
    """Return held_QH, a row a candidate."""
    return held(facts, asked.user_R, asked.moment_R)[asked.request_Q]


def edge_columns(facts: Facts, kind: str, held_QH: Ints, item_Q: Ints) -> Columns:
    """Return the largest edge weight from a held item to the candidate, and their sum."""
    item_QH = np.broadcast_to(item_Q[:, None], held_QH.shape)
    weight_QH = np.asarray(facts.edges[kind][held_QH.ravel(), item_QH.ravel()])
    weight_QH = weight_QH.reshape(held_QH.shape)
    return {f"{kind}_best": weight_QH.max(axis=1), f"{kind}_sum": weight_QH.sum(axis=1)}
