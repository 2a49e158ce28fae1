"""Profit beside the trunk: what an item has earned lately, as far as that may count.

Momentum over up to a year, the oldest forecast of returns that still holds up (Jegadeesh & Titman
1993, J. Finance 48), leaning on the mean of the item's class by how long it was watched.  How much
it counts against what investors would acquire is for the bank to say: no validation decides it.

Legend: V items with padding first, P closes, sorted by item, then day.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tessera.model.nn.item_bias import ItemBias
from tessera.shared.features.prices import PriceHistory

_MONTH_DAYS = 30.0
_LOOKBACK_DAYS = 365
_LEAST_DAYS = 30
"""Between the first and the last close of a return worth counting."""
_PRIOR_DAYS = 90.0
"""Days that the mean of the class counts for."""
_MOST = 2.0
"""Spreads from the mean beyond which a return is not believed."""


class Profit(ItemBias):
    """How each item's recent monthly return compares, between -1 and 1."""

    def learn(self, closes: PriceHistory, class_V: NDArray[np.int64], now_day: int) -> None:
        """Compare what the items earned in the year before the day; 0 where nobody can say."""
        growth_V, days_V = _growth(closes, len(class_V), now_day)
        is_known_V = days_V >= _LEAST_DAYS
        self.set(np.zeros(len(class_V)))
        if not is_known_V.any():
            return
        monthly_V = np.where(is_known_V, growth_V / np.maximum(days_V, 1) * _MONTH_DAYS, 0.0)
        weight_V = np.where(is_known_V, days_V, 0).astype(np.float64)
        mean = float(np.average(monthly_V, weights=weight_V))
        total_C = np.bincount(class_V, weight_V * monthly_V) + _PRIOR_DAYS * mean
        mean_C = total_C / (np.bincount(class_V, weight_V) + _PRIOR_DAYS)
        hoped_V = weight_V * monthly_V + _PRIOR_DAYS * mean_C[class_V]
        hoped_V = hoped_V / (weight_V + _PRIOR_DAYS)
        spread = float(hoped_V[is_known_V].std()) or 1.0
        worth_V = np.clip((hoped_V - mean) / spread, -_MOST, _MOST) / _MOST
        self.set(np.where(is_known_V, worth_V, 0.0))


def _growth(
    closes: PriceHistory, items: int, now_day: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the log growth of each item between its first and last close of the lookback."""
    within_P = (closes.day_P < now_day) & (closes.day_P >= now_day - _LOOKBACK_DAYS)
    item_P, day_P = closes.item_P[within_P], closes.day_P[within_P]
    close_P = closes.close_P[within_P]
    growth_V, days_V = np.zeros(items), np.zeros(items, np.int64)
    if len(item_P):
        first = np.flatnonzero(np.diff(item_P, prepend=-1))
        last = np.append(first[1:], len(item_P)) - 1
        growth_V[item_P[first]] = np.log(close_P[last] / close_P[first])
        days_V[item_P[first]] = day_P[last] - day_P[first]
    return growth_V, days_V
