"""Who held what at the start of each period, and what was known of every investor by then.

Legend: E events, A first acquisitions, U investors, I items, V versions, D traits.
Times are microseconds, UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from tessera.contracts.arrow import DAY_US
from tessera.contracts.split import Split, known
from tessera.contracts.tables import POSITIVE
from tessera.stages.causal.params import CausalParams


@dataclass(frozen=True, slots=True)
class Panel:
    """Everything known before the cut, as integer codes."""

    item_ids: NDArray[np.object_]
    user_A: NDArray[np.int64]
    item_A: NDArray[np.int64]
    ts_A: NDArray[np.int64]
    """Time of the first acquisition of the item by the investor."""
    user_E: NDArray[np.int64]
    ts_E: NDArray[np.int64]
    """All events, ascending in time: activity and tenure come from them."""
    user_V: NDArray[np.int64]
    ts_V: NDArray[np.int64]
    risk_V: NDArray[np.int64]
    capacity_V: NDArray[np.int64]
    """Versions of investors, ascending in time; 0 is unknown."""
    n_users: int
    ordinal: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """One period: who holds what at its start, who acquires what before its end."""

    held_UI: sparse.csr_array
    gained_UI: sparse.csr_array
    observed_U: NDArray[np.bool_]
    """Who is under observation: seen before the period, and on data without times not yet gone."""
    trait_UD: NDArray[np.float64]
    """Risk and capacity class, logs of events so far and of tenure in days."""


def acquisitions(events: ibis.Table, params: CausalParams) -> ibis.Table:
    """Keep the events that acquire something."""
    proper = events.filter(events.action.isin(params.acquired))
    if proper.count().execute() == 0:
        proper = events.filter(events.action.isin(POSITIVE))
    liked = proper.units.fill_null(params.least_rating) >= params.least_rating
    return proper.filter((proper.action != "rate") | liked)


def build_panel(events: ibis.Table, users: ibis.Table, split: Split, params: CausalParams) -> Panel:
    """Read everything up to the cut; nothing later is looked at."""
    past = known(events, split).select("user_id", "item_id", "action", "units", "event_ts")
    first = (
        acquisitions(past, params)
        .group_by("user_id", "item_id")
        .aggregate(event_ts=lambda t: t.event_ts.min())
        .order_by("event_ts", "user_id", "item_id")
        .to_pyarrow()
    )
    everything = past.select("user_id", "event_ts").order_by("event_ts", "user_id").to_pyarrow()
    versions = (
        users.filter(users.valid_from <= split.cut)
        .select("user_id", "valid_from", "risk_class", "capacity_class")
        .order_by("valid_from", "user_id")
        .to_pyarrow()
    )
    user_ids = np.unique(everything["user_id"].to_numpy())
    item_ids, item_A = np.unique(first["item_id"].to_numpy(), return_inverse=True)
    versions = versions.filter(pc.is_in(versions["user_id"], pa.array(user_ids)))
    return Panel(
        item_ids=item_ids,
        user_A=np.searchsorted(user_ids, first["user_id"].to_numpy()),
        item_A=item_A.astype(np.int64),
        ts_A=_microseconds(first["event_ts"]),
        user_E=np.searchsorted(user_ids, everything["user_id"].to_numpy()),
        ts_E=_microseconds(everything["event_ts"]),
        user_V=np.searchsorted(user_ids, versions["user_id"].to_numpy()),
        ts_V=_microseconds(versions["valid_from"]),
        risk_V=_whole(versions["risk_class"]),
        capacity_V=_whole(versions["capacity_class"]),
        n_users=len(user_ids),
        ordinal=split.ordinal,
    )


def trials(panel: Panel, params: CausalParams) -> Iterator[Trial]:
    """Yield one trial a period.

    What lies on the start of a period is held; only what comes strictly later is gained, so that
    events of equal time never count as one after the other.
    """
    edge_P = period_edges(panel.ts_A, params.periods)
    for start, end in pairwise(edge_P.tolist()):
        before_A = panel.ts_A <= start
        during_A = (panel.ts_A > start) & (panel.ts_A <= end)
        observed_U, trait_UD = _investors(panel, start)
        yield Trial(_matrix(panel, before_A), _matrix(panel, during_A), observed_U, trait_UD)


def period_edges(ts_A: NDArray[np.int64], periods: int) -> NDArray[np.int64]:
    """Find times that cut the acquisitions into periods of about equal size."""
    if len(ts_A) == 0:
        return np.zeros(0, np.int64)
    return np.unique(np.quantile(ts_A, np.linspace(0, 1, periods + 1), method="lower"))


def _investors(panel: Panel, start: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Tell who is under observation at `start`, and what is known of everybody by then."""
    so_far = np.searchsorted(panel.ts_E, start, side="right")
    events_U = np.bincount(panel.user_E[:so_far], minlength=panel.n_users)
    observed_U = events_U > 0
    tenure_U = np.zeros(panel.n_users)
    # Ascending in time, so writing backwards leaves the first event of each investor.
    tenure_U[panel.user_E[:so_far][::-1]] = (start - panel.ts_E[:so_far][::-1]) / DAY_US
    if panel.ordinal:  # positions, not days: beyond the last one nobody is under observation
        last_U = np.zeros(panel.n_users, np.int64)
        last_U[panel.user_E] = panel.ts_E
        observed_U &= last_U > start
    versions = np.searchsorted(panel.ts_V, start, side="right")
    classes = [
        _indicators(panel, level_V, slice(0, versions))
        for level_V in (panel.risk_V, panel.capacity_V)
    ]
    return observed_U, np.column_stack([*classes, np.log1p(events_U), np.log1p(tenure_U)])


def _indicators(panel: Panel, level_V: NDArray[np.int64], known: slice) -> NDArray[np.float64]:
    """One column for each class but the unknown, by the version in force."""
    level_U = np.zeros(panel.n_users, np.int64)
    level_U[panel.user_V[known]] = level_V[known]
    return np.asarray(level_U[:, None] == np.setdiff1d(level_V, [0]), np.float64)


def _matrix(panel: Panel, keep_A: NDArray[np.bool_]) -> sparse.csr_array:
    shape = (panel.n_users, len(panel.item_ids))
    index = (panel.user_A[keep_A], panel.item_A[keep_A])
    return sparse.csr_array((np.ones(len(index[0])), index), shape=shape)


def _microseconds(column: pa.ChunkedArray) -> NDArray[np.int64]:
    exact = column.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return np.asarray(exact.to_numpy(), dtype=np.int64)


def _whole(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Integers with 0 for unknown: a class of its own, not a guess."""
    return np.asarray(pc.fill_null(column.cast(pa.int64()), 0).to_numpy(), dtype=np.int64)
