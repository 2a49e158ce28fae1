"""The items of a run as arrays: ids, lifetimes, classes, codes, closing prices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from ibis import Table
from torch import Tensor

from tessera.contracts.arrays import Bools, Ints
from tessera.contracts.arrow import DAY_US
from tessera.contracts.lookup import rows_of as rows_of
from tessera.contracts.split import Split
from tessera.model.nn.batch import PADDING
from tessera.shared.features.demand import CLASS_COLUMNS, item_classes
from tessera.shared.features.prices import PriceHistory


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The items of a run; row r + 1 of every item array is `vocabulary[r]`."""

    vocabulary: list[str]
    from_V: Ints
    """First microsecond the item could be bought."""
    to_V: Ints
    """Microsecond from which it no longer could; padding never could."""
    class_V: Ints
    """Category, subcategory and market in one; the rarest classes are one."""

    def alive_V(self, at: datetime) -> Bools:
        """Return which items can be bought at this time."""
        moment = microsecond(at)
        return (self.from_V <= moment) & (self.to_V > moment)

    def candidates_V(self, split: Split, at: datetime, future_items: bool) -> Bools:
        """Return which items may be listed; all if each user has a cut of their own.

        `future_items` lists those first offered after this time too.
        """
        if split.protocol == "leave_last_out":
            return np.arange(len(self.from_V)) > PADDING
        if future_items:
            return self.to_V > microsecond(at)
        return self.alive_V(at)


def microsecond(at: datetime) -> int:
    """Return a time as microseconds since 1970."""
    return int(pa.scalar(at, pa.timestamp("us", tz="UTC")).cast(pa.int64()).as_py())


def read_catalogue(items: Table) -> Catalogue:
    """Read ids, lifetimes and classes, sorted by id; no date means no end."""
    columns = (
        "item_id",
        "valid_from",
        "valid_to",
        *(name for name in CLASS_COLUMNS if name in items),
    )
    rows = items.select(*columns).to_pyarrow().sort_by("item_id")
    bounds = np.iinfo(np.int64)

    def moments(name: str, missing: int, padding: int) -> Ints:
        moment = rows[name].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
        return np.concatenate([[padding], pc.fill_null(moment, missing).to_numpy()])

    return Catalogue(
        rows["item_id"].to_pylist(),
        moments("valid_from", bounds.min, bounds.max),
        moments("valid_to", bounds.max, bounds.min),
        np.concatenate([[0], item_classes(rows)]),
    )


def read_codes(codes: Table, vocabulary: list[str]) -> Tensor:
    """Return codes_VC, 0 where an item has no code; the collision suffix says nothing and goes."""
    rows = codes.select("item_id", "code").to_pyarrow()
    place = pc.index_in(rows["item_id"], pa.array(vocabulary, pa.string()))
    rows, place = rows.filter(pc.is_valid(place)), pc.drop_null(place).to_numpy()
    levels = min((len(code) for code in rows["code"].to_pylist()), default=1) - 1
    codes_VC = np.zeros((len(vocabulary) + 1, levels), np.int64)
    for code, row in zip(rows["code"].to_pylist(), place, strict=True):
        codes_VC[row + 1] = np.asarray(code[:levels]) + 1
    return torch.from_numpy(codes_VC)


def read_closes(prices: Table, vocabulary: list[str]) -> PriceHistory:
    """Read the closes of known items, one an item and day, by the rows of the item table."""
    rows = prices.select("item_id", "price_ts", "close_eur").to_pyarrow()
    item_P = rows_of(rows["item_id"], vocabulary) + 1
    day_P = microseconds(rows["price_ts"]) // DAY_US
    is_sorted = _ascends(item_P, day_P)  # as the bundle has them
    order = np.arange(len(item_P)) if is_sorted else np.lexsort((day_P, item_P))
    order = order[item_P[order] > 0]
    same = (np.diff(item_P[order]) == 0) & (np.diff(day_P[order]) == 0)
    order = order[np.append(~same, True)[: len(order)]]
    return PriceHistory(item_P[order], day_P[order], rows["close_eur"].to_numpy()[order])


def microseconds(column: pa.ChunkedArray) -> Ints:
    """Return a column of times as microseconds since 1970."""
    moment: Ints = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
    return moment


def _ascends(item_P: Ints, day_P: Ints) -> bool:
    item, day = np.diff(item_P), np.diff(day_P)
    return bool(((item > 0) | ((item == 0) & (day >= 0))).all())
