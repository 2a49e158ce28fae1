"""What the candidates earned in the test period, so that profit stands beside ranking.

Shapes: I items of the holdout.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import ibis
import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from tessera.contracts.split import Split
from tessera.shared.metrics.profit import (
    SLACK_DAYS,
    Closes,
    period_return,
    priced_at_both_ends,
    suspicious_items,
)
from tessera.stages.evaluate.holdout import Holdout

Ints = NDArray[np.int64]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Returns:
    """Returns of the candidates over the test period."""

    return_I: NDArray[np.float64]
    """Total return; NaN without a price or for what cannot be bought."""
    priced_I: NDArray[np.bool_]
    """Candidates with a close near both ends: the priced subset of the tables."""
    days: int
    """Length of the test period."""
    flagged: tuple[str, ...]
    """Priced items with a move that looks like a corporate action, sorted."""


def _day(when: datetime) -> int:
    return (when.astimezone(UTC) - _EPOCH).days


def measure_returns(prices: ibis.Table, holdout: Holdout, split: Split) -> Returns | None:
    """Read closes and compute returns; None if no candidate has a price at both ends.

    None, too, for a period within one day, over which closes tell no return.
    """
    start, end = _day(split.cut), _day(split.test_until)
    if start == end:
        return None
    rows = prices.order_by(["item_id", "price_ts"]).to_pyarrow()
    found = pc.index_in(rows["item_id"], value_set=holdout.item_ids).fill_null(-1)
    item_P = np.asarray(found, dtype=np.int64)
    day_P = np.asarray(rows["price_ts"]).astype("datetime64[D]").astype(np.int64)
    order_P = np.lexsort((day_P, item_P))
    order_P = _last_of_a_day(order_P[item_P[order_P] >= 0], item_P, day_P)
    close_P = np.asarray(rows["close_eur"], dtype=np.float64)
    closes = Closes(item_P[order_P], day_P[order_P], close_P[order_P])
    items = len(holdout.item_ids)
    priced_I = priced_at_both_ends(closes, items, start, end) & holdout.candidate_I
    if not priced_I.any():
        return None
    return_I = period_return(closes, items, start, end)
    return_I[~holdout.candidate_I] = np.nan
    suspects = suspicious_items(_within(closes, start, end))
    flagged = holdout.item_ids.take(suspects[priced_I[suspects]]).to_pylist()
    return Returns(return_I, priced_I, end - start, tuple(sorted(flagged)))


def _last_of_a_day(order_P: Ints, item_P: Ints, day_P: Ints) -> Ints:
    """Keep the last of an item's closes of one day; rows of one day stand in time order."""
    item_P, day_P = item_P[order_P], day_P[order_P]
    last_P = np.ones(len(order_P), dtype=np.bool_)
    last_P[:-1] = (np.diff(item_P) != 0) | (np.diff(day_P) != 0)
    return order_P[last_P]


def _within(closes: Closes, start: int, end: int) -> Closes:
    """Keep closes that a return of the period could have used."""
    kept_P = (closes.day_P > start - SLACK_DAYS) & (closes.day_P <= end)
    return Closes(closes.item_P[kept_P], closes.day_P[kept_P], closes.close_P[kept_P])
