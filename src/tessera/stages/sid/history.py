"""What happened up to the cut, as blocks read it: who acquired or asked what, how prices moved.

Legend: U investors, N items, P price measures, C closes in order of item and day, H hashed width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.contracts.errors import BadInput
from tessera.contracts.split import Split, known
from tessera.contracts.tables import POSITIVE
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.searched import mean_query, searched

RETURN_DAYS = (30, 90, 365)
"""Returns are taken over these spans before the cut."""


@dataclass(frozen=True, slots=True)
class History:
    """The past of some items, sorted by id; a part that no block reads is empty."""

    item_ids: list[str]
    acquired_UN: sparse.csr_array
    price_NP: Float64s
    """NaN for items without two closes."""
    query_NH: Float64s = field(default_factory=lambda: np.empty((0, 0)))
    """NaN for items that hardly anybody searched for."""


def read_history(
    events: ibis.Table,
    prices: ibis.Table,
    item_ids: list[str],
    split: Split,
    params: SidParams,
    queries: ibis.Table | None = None,
) -> History:
    """Read what the blocks that are on ask for; without queries nobody has asked anything."""
    weight = params.block_weights
    acquired_UN = sparse.csr_array((0, len(item_ids)))
    price_NP = np.full((len(item_ids), len(RETURN_DAYS) + 3), np.nan)
    if {"behaviour", "near_behaviour"} & weight.keys():
        acquired_UN = acquired(known(events, split), item_ids, split, params)
    if "price" in weight:
        day = split.cut.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        # A close is known from the next day on.
        price_NP = price_measures(prices.filter(prices.price_ts < day), item_ids, split)
    query_NH = np.full((len(item_ids), 1), np.nan)
    if "queries" in weight and queries is not None:
        query_NH = mean_query(searched(queries, known(events, split), item_ids, split))
    return History(item_ids, acquired_UN, price_NP, query_NH)


def acquired(
    past: ibis.Table, item_ids: list[str], split: Split, params: SidParams
) -> sparse.csr_array:
    """1 where an investor acquired an item [U, N]; `past` holds events up to the cut alone.

    Raises
    ------
    BadInput
        If it holds an event after the cut.
    """
    if split.protocol == "time":
        _refuse_future(past, "event_ts", split)
    proper = past.filter(past.action.isin(params.acquired))
    if proper.count().execute() == 0:
        proper = past.filter(past.action.isin(POSITIVE))
    liked = proper.units.fill_null(params.least_rating) >= params.least_rating
    pairs = proper.filter((proper.action != "rate") | liked).select("user_id", "item_id")
    rows = pairs.distinct().order_by("user_id", "item_id").to_pyarrow()
    rows = rows.filter(pc.is_in(rows["item_id"], pa.array(item_ids, pa.string())))
    user = np.unique(rows["user_id"].to_numpy(), return_inverse=True)[1]
    item = np.searchsorted(np.array(item_ids, dtype=object), rows["item_id"].to_numpy())
    shape = (int(user.max(initial=-1)) + 1, len(item_ids))
    return sparse.csr_array((np.ones(len(item)), (user, item)), shape=shape)


def price_measures(past: ibis.Table, item_ids: list[str], split: Split) -> Float64s:
    """Log returns over `RETURN_DAYS`, volatility, deepest fall, log days of history [N, P].

    Closes that are no positive number are passed over; an item with fewer than two is NaN.

    Raises
    ------
    BadInput
        If there is a close after the cut.
    """
    _refuse_future(past, "price_ts", split)
    rows = past.order_by("item_id", "price_ts").to_pyarrow()
    close = rows["close_eur"].to_numpy()
    good = pc.is_in(rows["item_id"], pa.array(item_ids, pa.string())).to_numpy()
    good &= np.isfinite(close) & (np.nan_to_num(close) > 0)
    found_NP = np.full((len(item_ids), len(RETURN_DAYS) + 3), np.nan)
    item_C = np.searchsorted(
        np.array(item_ids, dtype=object), rows["item_id"].to_numpy()[good]
    ).astype(np.int64)
    if len(item_C) == 0:
        return found_NP
    day_C = rows["price_ts"].cast(pa.int64()).to_numpy()[good] // DAY_US
    cut_day = int(split.cut.timestamp() * 1e6) // DAY_US
    measured_MP, item_M, count_M = _measures(item_C, day_C, np.log(close[good]), cut_day)
    found_NP[item_M[count_M > 1]] = measured_MP[count_M > 1]
    return found_NP


def _measures(
    item_C: Ints, day_C: Ints, log_C: Float64s, cut_day: int
) -> tuple[Float64s, Ints, Ints]:
    """Measures of each item with closes, its number, and how many closes it has.

    >>> log_C = np.array([0.0, 1.0, 0.5])  # one item: up by 1, down by .5
    >>> found_MP, _, count_M = _measures(np.zeros(3, int), np.array([0, 50, 99]), log_C, 100)
    >>> np.round(found_MP, 2), count_M  # from day 70 and 10: what stood there; from -265: the first
    (array([[-0.5 ,  0.5 ,  0.5 ,  0.75, -0.5 ,  4.62]]), array([3]))
    """
    first = np.flatnonzero(np.diff(item_C, prepend=-1))
    count_M = np.diff(first, append=len(item_C))
    last = first + count_M - 1
    step_C = np.diff(log_C, prepend=0.0)
    step_C[first] = 0.0
    mean_M = np.add.reduceat(step_C, first) / np.maximum(count_M - 1, 1)
    square_M = np.add.reduceat(step_C**2, first) / np.maximum(count_M - 1, 1)
    # One running maximum serves all items, if each stands above all before it.
    span = np.ptp(log_C) + 1.0
    lifted_C = log_C + span * np.repeat(np.arange(len(first)), count_M)
    fall_M = np.minimum.reduceat(lifted_C - np.maximum.accumulate(lifted_C), first)
    columns = []
    for days in RETURN_DAYS:
        old_C = day_C <= cut_day - days
        before_M = np.maximum(np.add.reduceat(old_C.astype(np.int64), first) - 1, 0)
        columns.append(log_C[last] - log_C[first + before_M])
    spread_M = np.sqrt(np.maximum(square_M - mean_M**2, 0.0))
    age_M = np.log1p((cut_day - day_C[first]).astype(np.float64))
    return np.stack([*columns, spread_M, fall_M, age_M], axis=1), item_C[first], count_M


def _refuse_future(rows: ibis.Table, column: str, split: Split) -> None:
    newest = rows[column].max().to_pyarrow().as_py()
    if newest is not None and newest > split.cut:
        raise BadInput(
            f"{column} {newest} lies after the cut {split.cut}: give item vectors only what was "
            "known by then"
        )
