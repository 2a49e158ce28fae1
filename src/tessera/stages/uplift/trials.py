"""Every logged request as a set of small randomised trials: one for each candidate item.

A candidate shown at the top is treated, one that was never shown is a control; both happened with a
probability that the log knows exactly, so no propensity is ever estimated.  A candidate shown
further down is neither and its weight is 0:

    treated   weight 1 / p_1
    control   weight 1 / ((1 - p_1) (1 - p_2 | above) ... (1 - p_L | above))

Shapes: R trials, F features, U users, I items, K categories, B purchases.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import ibis
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from ibis import Table

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.tables import UNEXPLORED
from tessera.shared.features.asof import as_of
from tessera.stages.uplift.params import UpliftParams

SERVED = slice(0, -1)
"""Features that a server knows too; the last is the propensity of whoever wrote the log."""
_IMPOSSIBLE = 1e-9
"""A probability this small was never logged by anybody who explores."""


@dataclass(frozen=True, slots=True)
class Trials:
    """Candidate items of requests, in order of request and item."""

    rows: pa.Table
    """request_id, item_id, user_id, shown and what was known of the user."""
    feature_RF: npt.NDArray[np.float32]
    treated_R: Bools
    """Shown at the top."""
    weight_R: Float64s
    """Inverse probability of what happened; 0 if shown, but not at the top."""
    chance_R: Float64s
    """Probability of being shown at the top, known before anything was shown."""
    bought_R: Float64s
    """1 if the user bought the item inside the window."""

    def __len__(self) -> int:
        return len(self.weight_R)

    def where(self, mask_R: Bools) -> Trials:
        """Keep some of the trials, in the same order."""
        return Trials(
            self.rows.filter(pa.array(mask_R)),
            self.feature_RF[mask_R],
            self.treated_R[mask_R],
            self.weight_R[mask_R],
            self.chance_R[mask_R],
            self.bought_R[mask_R],
        )


@dataclass(frozen=True, slots=True)
class Sources:
    """The tables that trials are made from."""

    events: Table
    exposures: Table
    users: Table
    items: Table


@dataclass(frozen=True, slots=True)
class Period:
    """Requests after `since` and up to `until`; features know nothing after `since`."""

    since: datetime
    until: datetime | None
    cut: datetime
    """Codes and means are of the users and items known then: the same in both periods."""


@dataclass(frozen=True, slots=True)
class Periods:
    """What to learn from and what to measure on."""

    learn: Period
    measure: Period


def periods(sources: Sources, cut: datetime, window_days: float) -> Periods | None:
    """Learn from the younger half of the log before the cut; measure after the cut.

    The last window before the cut is left out: its purchases would come from after the cut.
    None without exposures to learn from.
    """
    log = sources.exposures
    last = cut - timedelta(days=window_days)
    past = log.filter(log.event_ts <= last)
    rows = past.aggregate(first=past.event_ts.min(), last=past.event_ts.max()).to_pyarrow()
    first, newest = rows["first"][0].as_py(), rows["last"][0].as_py()
    if first is None:
        return None
    middle = first + (newest - first) / 2
    return Periods(Period(middle, last, cut), Period(cut, None, cut))


def trials_in(sources: Sources, period: Period, size: int, params: UpliftParams) -> Trials:
    """Sample the requests of a period and read them as trials.

    Only those that might explore: where the budget was spent nothing was left to chance.
    """
    log, events = sources.exposures, sources.events
    seen = log.filter((log.event_ts > period.since) & ~log.policy_id.endswith(UNEXPLORED))
    if period.until is not None:
        seen = seen.filter(seen.event_ts <= period.until)
    found = pairs(sample_requests(seen, size, params.seed))
    found = with_versions(with_purchases(found, events, params.window_days), sources.users)
    return read_trials(found, know(sources, period))


def asked_in(sources: Sources, period: Period) -> Trials:
    """Read every request of a period before its outcomes are known: nobody has bought."""
    seen = sources.exposures.filter(sources.exposures.event_ts > period.since)
    found = with_versions(pairs(seen).mutate(bought=0.0), sources.users)
    return read_trials(found, know(sources, period))


def sample_requests(exposures: Table, size: int, seed: int) -> Table:
    """Keep the exposures of so many requests, drawn at random."""
    ids = exposures.select("request_id").distinct().order_by("request_id").to_pyarrow()
    if len(ids) <= size:
        return exposures
    picked = np.random.default_rng(seed).choice(len(ids), size, replace=False)
    return exposures.semi_join(ibis.memtable(ids.take(pa.array(np.sort(picked)))), "request_id")


def pairs(exposures: Table) -> Table:
    """One row for each candidate of each request, with the probabilities of what happened."""
    # zipped first: of two that are unnested Spark makes every combination
    offered = exposures.candidate_ids.zip(exposures.candidate_propensities)
    laid = exposures.select(
        "request_id", "position", "user_id", "event_ts", shown_id="item_id", one=offered.unnest()
    )
    rows = laid.mutate(item_id=laid.one.f1, chance=laid.one.f2)
    here = rows.shown_id == rows.item_id
    return rows.group_by("request_id", "item_id").agg(
        user_id=rows.user_id.max(),
        event_ts=rows.event_ts.min(),
        treated=(here & (rows.position == 1)).max(),
        shown=here.max(),
        top=(rows.position == 1).ifelse(rows.chance, 0.0).max(),
        never=(1.0 - rows.chance).clip(lower=1e-12).ln().sum().exp(),
    )


def with_purchases(found: Table, events: Table, window_days: float) -> Table:
    """Add `bought`: the user bought the item after the request and inside the window."""
    window = ibis.interval(seconds=round(86_400 * window_days))
    buys = events.filter(events.action == "buy").select("user_id", "item_id", buy_ts="event_ts")
    hits = found.select("request_id", "item_id", "user_id", "event_ts").join(
        buys, ["user_id", "item_id"]
    )
    inside = hits.filter((hits.buy_ts > hits.event_ts) & (hits.buy_ts <= hits.event_ts + window))
    bought = inside.select("request_id", "item_id").distinct().mutate(bought=1.0)
    joined = found.left_join(bought, ["request_id", "item_id"])
    return joined.mutate(bought=joined.bought.fill_null(0.0)).drop(
        "request_id_right", "item_id_right"
    )


def with_versions(found: Table, users: Table) -> Table:
    """Add what was known of the user at the request: the last version, never a later one."""
    versions = users.select("user_id", "valid_from", "segment", "capacity_class", "risk_class")
    return as_of(found, versions, by="user_id", at="event_ts", since="valid_from")


@dataclass(frozen=True, slots=True)
class Known:
    """What the features are made from: items, and purchases before the requests."""

    user_ids: pa.Array
    item_ids: pa.Array
    segments: pa.Array
    category_I: Ints
    risk_I: Ints
    share_U: Float64s
    share_I: Float64s
    share_UK: Float64s


def know(sources: Sources, period: Period) -> Known:
    """Count the purchases before a period, by user, item, and user and category."""
    events, items = sources.events, sources.items
    users = sources.users.filter(sources.users.valid_from <= period.cut)
    born = items.filter(items.valid_from.isnull() | (items.valid_from <= period.cut))
    categories, born_items = _unique(born, "category"), len(_unique(born, "item_id"))
    shelf = items.order_by("item_id").to_pyarrow().combine_chunks()
    user_ids = _unique(users, "user_id")
    old = events.filter((events.action == "buy") & (events.event_ts <= period.since))
    buys = old.select("user_id", "item_id").to_pyarrow()
    user_B = _index(buys["user_id"], user_ids)
    item_B = _index(buys["item_id"], shelf["item_id"].combine_chunks())
    real_B = (user_B >= 0) & (item_B >= 0)
    user_B, item_B = user_B[real_B], item_B[real_B]
    category_I = _index(pc.fill_null(shelf["category"], ""), categories)
    shape = (len(user_ids) + 1, len(categories) + 1)
    pair_B = user_B * shape[1] + category_I[item_B] % shape[1]
    return Known(
        user_ids=user_ids,
        item_ids=shelf["item_id"].combine_chunks(),
        segments=_unique(users, "segment"),
        category_I=np.append(category_I, -1),
        risk_I=np.append(_numbers(pc.fill_null(shelf["risk_class"], 0)), 0),
        share_U=_log_share(np.bincount(user_B, minlength=shape[0]), len(user_ids)),
        share_I=_log_share(np.bincount(item_B, minlength=len(shelf) + 1), born_items),
        share_UK=_log_share(
            np.bincount(pair_B, minlength=shape[0] * shape[1]), len(user_ids) * len(categories)
        ).reshape(shape),
    )


def read_trials(found: Table, known: Known) -> Trials:
    """Read pairs with purchases and versions into arrays."""
    rows = found.order_by("event_ts", "request_id", "item_id").to_pyarrow().combine_chunks()
    treated_R = rows["treated"].to_numpy().astype(np.bool_)
    shown_R = rows["shown"].to_numpy().astype(np.bool_)
    top_R, never_R = rows["top"].to_numpy(), rows["never"].to_numpy()
    # A chance of 0 for what happened is a broken log; such rows carry no weight.
    chance_R = np.where(treated_R, top_R, np.where(shown_R, 0.0, never_R))
    weight_R = np.divide(1.0, chance_R, out=np.zeros(len(rows)), where=chance_R > _IMPOSSIBLE)
    return Trials(
        rows.select(["request_id", "item_id", "user_id", "shown"]),
        _features(rows, known, top_R),
        treated_R,
        weight_R,
        top_R,
        rows["bought"].to_numpy(),
    )


def _features(rows: pa.Table, known: Known, top_R: Float64s) -> npt.NDArray[np.float32]:
    """Columns: item (purchases, category, risk), user (segment, classes, purchases), both, policy.

    The propensity stands for all that the serving policy knew and that drove what was shown.
    """
    item_R, user_R = (
        _index(rows["item_id"], known.item_ids),
        _index(rows["user_id"], known.user_ids),
    )
    category_R = known.category_I[item_R]
    columns = [
        known.share_I[item_R],
        category_R,
        known.risk_I[item_R],
        _index(rows["segment"], known.segments),
        _numbers(pc.fill_null(rows["capacity_class"], 0)),
        _numbers(pc.fill_null(rows["risk_class"], 0)),
        known.share_U[user_R],
        known.share_UK[user_R, category_R],
        np.log(np.maximum(top_R, _IMPOSSIBLE)),
    ]
    return np.column_stack(columns).astype(np.float32)


def _log_share(count: Ints, size: int) -> Float64s:
    """Take counts relative to their mean over `size`: a longer history is not a busier one."""
    mean = float(count.sum()) / max(size, 1)
    return np.asarray(np.log1p(count / max(mean, _IMPOSSIBLE)))


def _unique(table: Table, column: str) -> pa.Array:
    values = table.select(column).distinct().to_pyarrow()[column].combine_chunks()
    return pc.unique(pc.fill_null(values, "")).sort()


def _index(values: pa.ChunkedArray, known: pa.Array) -> Ints:
    """Index of each value among the known ones, -1 if it is unknown."""
    return _numbers(pc.fill_null(pc.index_in(values, value_set=known), -1))


def _numbers(values: pa.ChunkedArray | pa.Array) -> Ints:
    return np.asarray(values.cast(pa.int64()).to_numpy(), dtype=np.int64)
