"""What being shown changes, by item and risk class.

Shapes: R requests, Q candidates of all requests.
"""

from __future__ import annotations

import numpy as np

from tessera.shared.features.facts import Columns, Facts, Queries


def columns(facts: Facts, asked: Queries) -> Columns:
    """Tell what showing changes: mean effect of the item, and for investors of this risk class."""
    mean_I, mean_IC = facts.effects
    class_Q = facts.risk_as_of(asked.user_R, asked.moment_R)[asked.request_Q]
    item_Q = asked.item_Q
    return {
        "cate_item": mean_I[item_Q],
        "cate_item_risk": mean_IC[item_Q, class_Q],
        "cate_missing": np.isnan(mean_I[item_Q]),
    }
