"""What serving must know about items and investors, as of the cut."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import ibis
import pyarrow.parquet as pq
from ibis import Table

from tessera.shared.policies.suitability import Unknown
from tessera.stages.index.params import IndexParams

_LATE_DAYS = 28
"""What is popular of late: four weeks, as long as validation usually is."""


def item_facts(
    items: Table, past: Table, cut: datetime, unknown: Unknown, params: IndexParams
) -> Table:
    """One row an item: what a list shows, whether it can be bought at the cut, its popularity."""
    acquired = past.filter(past.action.isin(params.acquired))
    popularity = acquired.group_by("item_id").agg(popularity=acquired.user_id.nunique())
    born = items.valid_from.isnull() | (items.valid_from <= cut)
    living = items.valid_to.isnull() | (items.valid_to > cut)
    shown = items.select(
        "item_id",
        "name",
        "category",
        "sector",
        "issuer",
        "fee_percent",
        risk_class=items.risk_class.fill_null(unknown.item),
        alive=born & living,
    )
    joined = shown.left_join(popularity, "item_id").drop("item_id_right")
    return joined.mutate(popularity=joined.popularity.fill_null(0)).order_by("item_id")


def user_facts(
    users: Table, past: Table, vectors: Table, cut: datetime, unknown: Unknown, params: IndexParams
) -> Table:
    """One row an investor with a state: classes as known, items held and dismissed, vector."""
    classes = _classes(users, cut)
    held = _standing(past, params.acquired, "sell", "held")
    dismissed = _standing(past, ("dismiss",), None, "dismissed")
    joined = vectors.left_join(classes, "user_id").drop("user_id_right")
    joined = joined.left_join(held, "user_id").drop("user_id_right")
    joined = joined.left_join(dismissed, "user_id").drop("user_id_right")
    return joined.mutate(risk_class=joined.risk_class.fill_null(unknown.user)).order_by("user_id")


def segments(
    users: Table, past: Table, cut: datetime, unknown: Unknown, params: IndexParams
) -> Table:
    """Count the investors of each risk class who acquired each item just before the cut."""
    late = past.filter(
        past.action.isin(params.acquired) & (past.event_ts > cut - timedelta(days=_LATE_DAYS))
    )
    risk = _classes(users, cut).select("user_id", "risk_class")
    known = late.left_join(risk, "user_id").drop("user_id_right")
    known = known.mutate(risk_class=known.risk_class.fill_null(unknown.user))
    counts = known.group_by(["risk_class", "item_id"]).agg(investors=known.user_id.nunique())
    return counts.order_by(["risk_class", "item_id"])


def _classes(users: Table, cut: datetime) -> Table:
    """Return risk and capacity class of each investor as known at the cut."""
    seen = users.filter(users.valid_from <= cut)
    newest = ibis.row_number().over(
        ibis.window(group_by=seen.user_id, order_by=seen.valid_from.desc())
    )
    known = seen.mutate(_newest=newest).filter(ibis._._newest == 0)
    return known.select("user_id", "risk_class", "capacity_class")


def _standing(past: Table, actions: tuple[str, ...], undo: str | None, name: str) -> Table:
    """Items of each investor whose last such action was not undone later."""
    told = past.filter(past.action.isin([*actions, undo] if undo else actions))
    done = told.action.isin(actions)
    # A sale at the same moment as a purchase leaves the item held: their order is unknown.
    last_done = told.event_ts.max(where=done)
    last_undone = told.event_ts.max(where=~done)
    pairs = told.group_by(["user_id", "item_id"]).agg(done_ts=last_done, undone_ts=last_undone)
    kept = pairs.filter(
        pairs.done_ts.notnull() & (pairs.undone_ts.isnull() | (pairs.undone_ts <= pairs.done_ts))
    )
    listed = kept.item_id.collect(order_by=kept.item_id)
    return kept.group_by("user_id").agg(**{name: listed})


def neighbours(edges: Table, most: int) -> Table:
    """Strongest positive item-item edges from each item, the evidence of explanations."""
    told = edges.filter(edges.kind.isin(["causal", "co_acquired", "transition"]))
    told = told.filter(told.weight > 0)
    place = ibis.row_number().over(
        ibis.window(
            group_by=[told.source_id, told.kind], order_by=[told.weight.desc(), told.target_id]
        )
    )
    kept = told.mutate(_place=place).filter(ibis._._place < most).drop("_place")
    return kept.order_by(["source_id", "kind", "target_id"])


def write_facts(table: Table, path: Path) -> None:
    """Write an expression as Parquet."""
    pq.write_table(table.to_pyarrow(), path, compression="zstd")
