"""What this investor did with this very item before.

Shapes: R requests, Q candidates of all requests.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrays import Ints
from tessera.contracts.tables import ACTIONS
from tessera.shared.features.facts import NOBODY, Columns, Facts, Queries


def columns(facts: Facts, asked: Queries) -> Columns:
    """Count what this investor did with this very item before."""
    items = len(facts.risk_I)
    known_Q = (asked.user_Q != NOBODY) & (asked.item_Q > 0)
    pair_Q = np.where(known_Q, asked.user_Q * items + asked.item_Q, NOBODY)
    now_Q = facts.clock.rank(asked.moment_R)[asked.request_Q]
    found: Columns = {}

    def pair(rows: Ints) -> Ints:
        return np.asarray(facts.user_E[rows] * items + facts.item_E[rows])

    for number, action in enumerate(ACTIONS):
        index = facts.index("pair", pair, (number,))
        found[f"pair_{action}s"] = np.log1p(index.count(pair_Q, now_Q))
    return found
