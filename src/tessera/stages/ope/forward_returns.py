"""What the served log does not say: prices a month later, the state of the codes, the cost.

Shapes: P closes, N requests, C candidates.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from ibis import Table

from tessera.contracts.arrays import Float64s
from tessera.contracts.arrow import DAY_US
from tessera.offpolicy.requests import NOBODY, Requests
from tessera.shared.codes.health import capacity
from tessera.shared.features.prices import PriceHistory, close_before
from tessera.stages.ope.exposures import indices, numbers

_MONTH_DAYS = 30


def read_closes(prices: Table, item_ids: pa.Array) -> PriceHistory:
    """Read the closes of known items, the last of an item and day."""
    rows = prices.order_by("item_id", "price_ts").to_pyarrow()
    item_P, day_P = indices(rows["item_id"], item_ids), numbers(rows["price_ts"]) // DAY_US
    order = np.lexsort((day_P, item_P))
    last = np.ones(len(order), dtype=bool)
    last[:-1] = (np.diff(item_P[order]) != 0) | (np.diff(day_P[order]) != 0)
    order = order[last & (item_P[order] != NOBODY)]
    return PriceHistory(item_P[order], day_P[order], rows["close_eur"].to_numpy()[order])


def returns_after(log: Requests, closes: PriceHistory) -> Float64s | None:
    """Return of each candidate from the close before the request to the one a month later.

    Returns
    -------
    array NC or None
        NaN without either close, or where the closes end before the month does; None if nothing
        has a price.
    """
    if len(closes.day_P) == 0:
        return None
    item_R = log.candidate_NC.ravel()
    day_R = np.repeat(log.event_us_N // DAY_US, log.candidate_NC.shape[1])
    then_R = close_before(closes, item_R, day_R + _MONTH_DAYS)
    return_R = then_R / close_before(closes, item_R, day_R) - 1.0
    unknown_R = (item_R == NOBODY) | (day_R + _MONTH_DAYS > closes.day_P.max() + 1)
    return_R[unknown_R] = np.nan
    return return_R.reshape(log.candidate_NC.shape)


def codes_per_item(codes: pa.Table) -> float | None:
    """Effective number of whole codes by the number of items; None without two items.

    Read from the codes that will be served, without the suffix that numbers items of one code.
    """
    if len(codes) < 2:
        return None
    return capacity(np.array(codes["code"].to_pylist(), dtype=np.int64)[:, :-1])


def mflops_per_request(model: Path) -> float | None:
    """Million operations of a request with the longest history; None if the model does not say."""
    cost = model / "cost.json"
    return float(json.loads(cost.read_text())["mflops_per_request"]) if cost.exists() else None


def unserved_effects(model: Path) -> float | None:
    """Return how much effects of being shown, which no bundle carries, weigh in the scores.

    None if the model does not say.
    """
    shape = model / "config.json"
    weight = json.loads(shape.read_text()).get("uplift_weight") if shape.exists() else None
    return None if weight is None else float(weight)
