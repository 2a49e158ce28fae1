"""How the item's price moved, up to the day before the request.

Shapes: R requests, Q candidates of all requests.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrow import DAY_US
from tessera.shared.features import prices
from tessera.shared.features.facts import Columns, Facts, Queries
from tessera.shared.features.prices import price_features, volatility


def columns(facts: Facts, asked: Queries) -> Columns:
    """Momentum and volatility of the item up to the day before the request."""
    day_Q = asked.moment_Q // DAY_US
    found_QF = price_features(facts.closes, asked.item_Q, day_Q)
    volatility_Q = volatility(facts.closes, asked.item_Q, day_Q)
    return {
        **dict(zip(prices.NAMES, found_QF.T, strict=True)),
        "volatility": volatility_Q,
        "volatility_missing": np.isnan(volatility_Q),
    }
