"""What is known of the investor: risk class, how long and how lately seen, what was done so far.

Shapes: R requests, Q candidates of all requests.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tessera.contracts.arrays import Ints
from tessera.contracts.tables import ACTIONS
from tessera.shared.features.facts import EVERY, Columns, Facts, Queries
from tessera.shared.features.shares import log_days, risk_as_of


def columns(facts: Facts, asked: Queries) -> Columns:
    """Risk class as of the request, tenure, time since the last event, and events so far."""
    by_user, now_R = facts.by_user(), facts.clock.rank(asked.moment_R)
    first_R, stop_R = by_user.stretch(asked.user_R, now_R)
    new_R = stop_R == first_R
    begin_R, last_R = np.zeros_like(first_R), np.zeros_like(first_R)
    begin_R[~new_R] = facts.moment_E[by_user.order_E[first_R[~new_R]]]
    last_R[~new_R] = facts.moment_E[by_user.order_E[stop_R[~new_R] - 1]]
    found = {
        "user_risk": risk_as_of(facts, asked),
        "user_tenure": log_days(asked.moment_R - begin_R, new_R),
        "user_recency": log_days(asked.moment_R - last_R, new_R),
        "user_missing": new_R,
    }
    by_action, kinds = facts.index("user and action", _user_and_action(facts), EVERY), len(ACTIONS)
    for number, action in enumerate(ACTIONS):
        so_far_R = by_action.count(asked.user_R * kinds + number, now_R)
        found[f"user_{action}s"] = np.log1p(so_far_R)
    return {name: value_R[asked.request_Q] for name, value_R in found.items()}


def _user_and_action(facts: Facts) -> Callable[[Ints], Ints]:
    """Return the group of each row: one index of all actions is built sooner than one of each."""

    def group(rows: Ints) -> Ints:
        return np.asarray(facts.user_E[rows] * len(ACTIONS) + facts.action_E[rows])

    return group
