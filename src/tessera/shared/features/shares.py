"""How an investor's events so far lean to what a candidate is: counts and shares by label.

Every count is of what is strictly older than the request (`stretches`).

Shapes: R requests, Q candidates of all, I items with 0 for unknown.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.contracts.tables import ACTIONS
from tessera.shared.features.facts import NOBODY, Facts, Queries

LIKED = tuple(ACTIONS.index(action) for action in ("view", "click", "buy", "rate"))
"""Actions that speak for an item."""


def log_days(span_us: Ints, missing: NDArray[np.bool_]) -> Float64s:
    """Logarithm of a span in days; NaN where it is missing."""
    return np.where(missing, np.nan, np.log1p(np.maximum(span_us, 0) / DAY_US))


def risk_as_of(facts: Facts, asked: Queries) -> Float64s:
    """Risk class of the last version at or before the request; NaN if there is none."""
    found_R = facts.risk_as_of(asked.user_R, asked.moment_R)
    return np.where(found_R > 0, found_R, np.nan)


def share(
    facts: Facts, asked: Queries, name: str, label_I: Ints, actions: tuple[int, ...]
) -> tuple[Float64s, Ints]:
    """Return share and number of the investor's events whose item has the candidate's label."""
    labels = facts.labels(name, label_I)
    label_Q, now_R = label_I[asked.item_Q], facts.clock.rank(asked.moment_R)
    known_Q = (asked.user_Q != NOBODY) & (label_Q != NOBODY) & (asked.item_Q > 0)
    group_Q = np.where(known_Q, asked.user_Q * labels + label_Q + 1, NOBODY)

    def group(rows: Ints) -> Ints:
        return np.asarray(facts.user_E[rows] * labels + label_I[facts.item_E[rows]] + 1)

    index = facts.index(name, group, actions)
    count_Q = index.count(group_Q, now_R[asked.request_Q])
    all_R = facts.by_user(actions).count(asked.user_R, now_R)
    return count_Q / np.maximum(all_R, 1)[asked.request_Q], count_Q
