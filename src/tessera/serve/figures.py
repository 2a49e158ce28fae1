"""Figures that stand beside an item, each with where and when it was read.

Prices are read at the moment of the request, as ranking features are: a close counts from the day
after it was made, and for thirty days.  Fees are those of the catalogue at the cut of the bundle.

Shapes: Q items asked for.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from tessera.contracts.arrays import Ints
from tessera.contracts.arrow import DAY_US
from tessera.serve.evidence import Edge
from tessera.serve.slate import Figure, at
from tessera.shared.features.prices import NAMES, PriceHistory, close_before, price_features

FEE = "fee_percent"
_RETURN, _AGE = NAMES.index("return_30d"), NAMES.index("price_age_days")


def prices(closes: PriceHistory, item_Q: Ints, moment: int) -> list[tuple[Figure, ...]]:
    """Return last close and return over 30 days of items by their number in the model.

    What is not known is left out.
    """
    day_Q = np.full(len(item_Q), moment // DAY_US)
    close_Q = close_before(closes, item_Q, day_Q)
    found: list[tuple[Figure, ...]] = []
    for close, features in zip(close_Q, price_features(closes, item_Q, day_Q), strict=True):
        if np.isnan(close):
            found.append(())
            continue
        midnight = at(moment // DAY_US * DAY_US) - timedelta(days=int(features[_AGE]))
        told = {"close_eur": float(close), "return_30d": float(np.expm1(features[_RETURN]))}
        found.append(
            tuple(
                Figure(name, value, midnight, "prices")
                for name, value in told.items()
                if not np.isnan(value)
            )
        )
    return found


def fees(items: pa.Table, row_Q: Ints, cut: datetime) -> list[tuple[Figure, ...]]:
    """Return what items cost a year, by their rows in the table of a bundle.

    What is not known is left out; a bundle of before has no such column.
    """
    if FEE not in items.column_names:
        return [()] * len(row_Q)
    told_Q = items[FEE].take(row_Q).to_pylist()
    return [() if one is None else (Figure(FEE, one, cut, "items"),) for one in told_Q]


def behind(edge: Edge, held: str, cut: datetime) -> tuple[Figure, ...]:
    """Return what an edge rests on."""
    source = f"neighbours: {edge.kind} from {held}"
    support = Figure("investors", float(edge.support), cut, source)
    if np.isnan(edge.false_sign_rate):
        return (support,)
    return support, Figure("false_sign_rate", edge.false_sign_rate, cut, source)
