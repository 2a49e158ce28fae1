"""The tables of a run as arrays, and what follows from the split: who learns, who is asked when.

Legend: U users, V items with padding first, C code levels, R requests, P events of a part, N of
them that count, Q users that are asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from ibis import Table
from torch import Tensor

from tessera.contracts.arrow import DAY_US
from tessera.contracts.split import Split
from tessera.contracts.tables import ACTIONS
from tessera.features.demand import CLASS_COLUMNS, item_classes
from tessera.features.prices import PriceHistory
from tessera.hstu.batch import PADDING
from tessera.hstu.histories import TRAIN, VALIDATION, Bools, Histories, Ints
from tessera.hstu.params import HstuParams
from tessera.hstu.scoring import Requests

if TYPE_CHECKING:
    from tessera.hstu.logged import Log  # reads this module
    from tessera.hstu.rerank import Effects  # likewise


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

    def candidates_V(self, split: Split, at: datetime, params: HstuParams) -> Bools:
        """Return which items may be listed; all if each user has a cut of their own."""
        if split.protocol == "leave_last_out":
            return np.arange(len(self.from_V)) > PADDING
        if params.unborn_items:
            return self.to_V > microsecond(at)
        return self.alive_V(at)


@dataclass(frozen=True, slots=True)
class World:
    """Everything a model is fitted on."""

    split: Split
    catalogue: Catalogue
    codes_VC: Tensor
    """No columns when codes are not used."""
    histories: Histories
    log: Log | None = None
    """Logged slates; None trains no ranking head."""
    edge_VV: Tensor | None = None
    """Edges for the attention of HSTU; None tells it of none."""
    closes: PriceHistory | None = None
    """None where nothing has a price."""
    effects: Effects | None = None
    """Effects of being shown after the cut; None moves no score."""


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
    order = np.lexsort((day_P, item_P))
    order = order[item_P[order] > 0]
    same = (np.diff(item_P[order]) == 0) & (np.diff(day_P[order]) == 0)
    order = order[np.append(~same, True)[: len(order)]]
    return PriceHistory(item_P[order], day_P[order], rows["close_eur"].to_numpy()[order])


@dataclass(frozen=True, slots=True)
class Question:
    """Users to rank for: their history ends at `stop`, they are asked at `request`."""

    user_Q: Ints
    stop_Q: Ints
    request_Q: Ints
    """Seconds since 1970."""
    seen: tuple[Ints, Ints]
    """Pairs (row, item) acquired before, sorted by row."""
    relevant: tuple[Ints, Ints]
    """Distinct pairs (row, item) acquired in the asked period and not before."""


def ask(histories: Histories, split: Split, params: HstuParams, period: int) -> Question:
    """Pose the question of the validation or test period to its users with a history."""
    stop_U = histories.until(period - 1)
    asked_U = histories.until(period) > stop_U
    user_Q = np.flatnonzero(asked_U & (stop_U > histories.first_U1[:-1]))
    row_U = np.full(len(stop_U), -1)
    row_U[user_Q] = np.arange(len(user_Q))
    acquired, size = action_codes(params.acquired), max(1, int(histories.item_E.max(initial=0)) + 1)

    def pairs(first_phase: int, last_phase: int) -> Ints:
        found = [np.zeros(0, np.int64)]
        for event_P in histories.parts():
            phase_P, row_P = histories.phase_E[event_P], row_U[histories.user_E[event_P]]
            is_meant_P = (phase_P >= first_phase) & (phase_P <= last_phase) & (row_P >= 0)
            is_meant_P &= np.isin(histories.action_E[event_P], acquired)
            item_N = histories.item_E[event_P[is_meant_P]]
            found.append(np.unique(row_P[is_meant_P] * size + item_N))
        return np.concatenate(found)  # parts hold whole users, so these are in order and distinct

    seen, relevant = pairs(TRAIN, period - 1), pairs(period, period)
    if params.filter_seen:
        relevant = np.setdiff1d(relevant, seen, assume_unique=True)
    request_U = request_seconds(histories, split, period)
    return Question(
        user_Q,
        stop_U[user_Q],
        request_U[user_Q],
        (seen // size, seen % size),
        (relevant // size, relevant % size),
    )


def request_seconds(histories: Histories, split: Split, period: int) -> Ints:
    """Return when each user is asked: at the period's start, or (leave last out) at its event."""
    stop_U = histories.until(period - 1)
    if split.protocol == "time":
        at = split.validation_from if period == VALIDATION else split.cut
        return np.full(len(stop_U), microsecond(at) // 1_000_000)
    last_U = np.minimum(stop_U, histories.first_U1[1:] - 1)
    return histories.second(last_U)


def action_codes(actions: tuple[str, ...]) -> Ints:
    """Return the rows of these actions in the action table."""
    return np.asarray([ACTIONS.index(action) for action in actions])


def read_requests(exposures: Table, split: Split) -> pa.Table:
    """Read the requests after the cut, one row each, sorted by request."""
    top = exposures.filter((exposures.event_ts > split.cut) & (exposures.position == 1))
    return (
        top.select("request_id", "user_id", "event_ts", "candidate_ids")
        .to_pyarrow()
        .sort_by("request_id")
    )


def as_requests(rows: pa.Table, histories: Histories, vocabulary: list[str]) -> Requests:
    """Translate logged requests into the rows of a model."""
    candidates = rows["candidate_ids"].combine_chunks()
    return Requests(
        user_R=rows_of(rows["user_id"], histories.user_id_U),
        moment_R=microseconds(rows["event_ts"]),
        first_R1=np.concatenate([[0], np.cumsum(pc.list_value_length(candidates).to_numpy())]),
        item_C=rows_of(pc.list_flatten(candidates), vocabulary) + 1,
    )


def microseconds(column: pa.ChunkedArray) -> Ints:
    """Return a column of times as microseconds since 1970."""
    moment: Ints = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
    return moment


def rows_of(column: pa.ChunkedArray | pa.Array, values: list[str] | pa.Array) -> Ints:
    """Return the index of each id among the values, -1 if it is unknown."""
    known = values if isinstance(values, pa.Array) else pa.array(values, pa.string())
    found = pc.fill_null(pc.index_in(column, known), -1)
    rows: Ints = np.asarray(found).astype(np.int64)
    return rows


def learn_until(histories: Histories, *, refit: bool) -> Ints:
    """Return where each user's lessons end: before validation, or with it."""
    return histories.until(VALIDATION if refit else TRAIN)
