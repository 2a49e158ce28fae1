"""The rows that are compared: windows around the cut, joined to what was known of them, sampled.

Every frame is drawn and ordered by the hash of its key, so that equal input gives equal rows.
Shapes: I items of the catalogue, N listed investors, K positions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tessera.contracts.arrays import Ints
from tessera.contracts.split import Split, known, test
from tessera.shared.features.asof import as_of
from tessera.shared.metrics.popularity import long_tail
from tessera.stages.monitor.params import MonitorParams
from tessera.stages.monitor.spec import NUMERICAL, Watch

MISSING = "missing"
_DRAW = "_draw"
"""Column with the hash by which rows are drawn and ordered."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two samples of the same columns: what was, and what is."""

    reference: pd.DataFrame
    current: pd.DataFrame

    @property
    def rows(self) -> dict[str, int]:
        """Rows on each side."""
        return {"reference": len(self.reference), "current": len(self.current)}


@dataclass(frozen=True, slots=True)
class Window:
    """All that decides which rows are looked at."""

    split: Split
    watch: Watch
    params: MonitorParams


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Items in order of item_id, how many hold each, and what is said of each."""

    item_ids: pa.Array
    holders_I: Ints
    facts: ibis.Table
    """item_id, category, sector, item_risk, popularity."""


def is_timed(split: Split) -> bool:
    """Whether events carry real moments, so that days around the cut can be compared."""
    return split.protocol == "time" and not split.ordinal


def interactions(events: ibis.Table, window: Window) -> ibis.Table:
    """(user, item) pairs known at the cut that make an item popular, each once."""
    past = known(events, window.split)
    past = past.filter(past.action.isin(window.watch.interactions))
    return past.select("user_id", "item_id").distinct()


def catalogue(items: ibis.Table, pairs: ibis.Table, window: Window) -> Catalogue:
    """Count holders and call each item head, middle or tail."""
    counts = pairs.group_by("item_id").agg(holders=ibis._.count())
    counted = items.left_join(counts, "item_id").select(
        "item_id",
        "category",
        "sector",
        item_risk=items.risk_class.cast("string"),
        holders=counts.holders.fill_null(0),
    )
    rows = counted.order_by("item_id").to_pyarrow()
    holders_I = rows["holders"].to_numpy().astype(np.int64)
    facts = rows.drop(["holders"]).append_column(
        "popularity", pa.array(_popularity(holders_I, window.watch))
    )
    return Catalogue(rows["item_id"].combine_chunks(), holders_I, ibis.memtable(facts))


def _popularity(holders_I: Ints, watch: Watch) -> list[str]:
    head = max(1, round(len(holders_I) * watch.head_percent / 100))
    name_I = np.where(long_tail(holders_I, head_share=watch.tail_head_share), "tail", "middle")
    name_I = np.where(holders_I == 0, "never held", name_I)
    name_I[np.argsort(-holders_I, kind="stable")[:head]] = "top"
    return [str(name) for name in name_I]


def event_frames(events: ibis.Table, users: ibis.Table, items: Catalogue, window: Window) -> Pair:
    """Events of the last days before the cut, and of the first days after it.

    Rows of a snapshot say what was held, not what was done then, and are left out.
    """
    split = window.split
    dated = events.filter(events.time_kind != "snapshot")
    before, after = known(dated, split), test(dated, split)
    if is_timed(split):
        before, after = _around(before, after, window)

    def enriched(side: ibis.Table) -> pd.DataFrame:
        drawn = _draw(side, side.event_id, window.params)
        return _fetch(
            _with_facts(drawn, users, items).mutate(
                log_amount=ibis.ifelse(
                    ibis._.amount_eur > 0, ibis._.amount_eur.log10(), ibis.null()
                )
            ),
            window.watch.drift.events,
        )

    return Pair(enriched(before), enriched(after))


def exposure_frames(
    exposures: ibis.Table, users: ibis.Table, items: Catalogue, window: Window
) -> Pair:
    """Slots shown in the last days before the cut, and in the first days after it."""
    before = exposures.filter(exposures.event_ts <= window.split.cut)
    after = exposures.filter(exposures.event_ts > window.split.cut)

    def enriched(side: ibis.Table) -> pd.DataFrame:
        drawn = _draw(side, side.request_id + side.position.cast("string"), window.params)
        drawn = drawn.mutate(
            log_propensity=drawn.propensity.log10(),
            candidates=drawn.candidate_ids.length().cast("float64"),
        )
        return _fetch(_with_facts(drawn, users, items), window.watch.drift.exposures)

    before, after = _around(before, after, window)
    return Pair(enriched(before), enriched(after))


def list_frames(top: ibis.Table, pairs: ibis.Table, items: Catalogue, window: Window) -> Pair:
    """Interactions before the cut, and the recommendations; with who, what and at which rank."""

    def enriched(side: ibis.Table) -> pd.DataFrame:
        drawn = _draw(side, side.user_id + side.item_id, window.params)
        drawn = drawn.left_join(items.facts, "item_id")
        return _fetch(drawn, ["user_id", "item_id", "rank", *window.watch.drift.lists])

    return Pair(enriched(pairs.mutate(rank=ibis.literal(1))), enriched(top))


def top_lists(lists: ibis.Table, window: Window) -> ibis.Table:
    """Positions that are looked at, of the model that is watched."""
    return lists.filter(
        (lists.model == window.params.model) & (lists["rank"] <= window.watch.list_length)
    ).select("user_id", "item_id", "rank")


def numbered(top: ibis.Table, items: Catalogue, length: int) -> Ints:
    """Turn lists into item numbers (N x K), -1 where empty or not of the catalogue."""
    rows = top.order_by(["user_id", "rank"]).to_pyarrow()
    user_R = rows["user_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    item_R = pc.index_in(rows["item_id"], value_set=items.item_ids).fill_null(-1).to_numpy()
    top_NK = np.full((int(user_R.max(initial=-1)) + 1, length), -1, dtype=np.int64)
    top_NK[user_R, rows["rank"].to_numpy() - 1] = item_R
    return top_NK


def _around(before: ibis.Table, after: ibis.Table, window: Window) -> tuple[ibis.Table, ibis.Table]:
    """Keep days before the last row known at the cut, which may be long ago, and after the cut."""
    days = timedelta(days=window.watch.current_days)
    until = min(window.split.test_until, window.split.cut + days)
    newest = before.event_ts.max().as_scalar()
    since = newest - ibis.interval(days=window.watch.reference_days)
    return before.filter(before.event_ts > since), after.filter(after.event_ts <= until)


def _draw(rows: ibis.Table, key: ibis.expr.types.StringColumn, params: MonitorParams) -> ibis.Table:
    """Keep the rows with the smallest hashes: a sample that the order of the rows cannot change."""
    rows = rows.mutate(**{_DRAW: (key + ibis.literal(f"#{params.seed}")).hash()})
    return rows.order_by([_DRAW, key]).limit(params.sample_rows)


def _with_facts(rows: ibis.Table, users: ibis.Table, items: Catalogue) -> ibis.Table:
    """Join what was known of the investor at that moment, and of the item."""
    versions = users.select(
        "user_id", "valid_from", "segment", user_risk=users.risk_class.cast("string")
    )
    joined = as_of(rows, versions, by="user_id", at="event_ts", since="valid_from")
    return joined.left_join(items.facts, "item_id")


def _fetch(rows: ibis.Table, columns: Iterable[str]) -> pd.DataFrame:
    """Fetch columns as pandas, in the order of the draw; a missing category is one too."""
    names = list(columns)
    found = rows.select([*names, _DRAW]).order_by([_DRAW, *names]).to_pyarrow()
    frame = {}
    for name in names:
        values = found[name].to_pandas()
        numbers = name in NUMERICAL or name == "rank"
        frame[name] = values.astype("float64") if numbers else values.astype(object).fillna(MISSING)
    return pd.DataFrame(frame)
