"""Segments of the served log become tables in the contracts, each with its count and hash.

A request or an event that lies in several segments, because it was sent again, is written once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from tessera.contracts.arrow import schema, write_table
from tessera.contracts.columns import Table
from tessera.contracts.hashes import sha256
from tessera.contracts.tables import (
    EVENTS,
    EXPOSURES,
    OUTCOMES,
    PRICES,
    TABLES,
    TOLD_USERS,
    USERS,
)
from tessera.serve.classes import CLASS, InvestorClass, class_of
from tessera.serve.closes import CLOSE, Close, close_of
from tessera.serve.events import COMPLAIN, SLATE, Knowledge, Record
from tessera.serve.slate import at
from tessera.shared.policies.slate import EMPTY

Rows = list[dict[str, Any]]


def exposures(records: Iterable[Record]) -> Rows:
    """Return one row a position that was shown."""
    slates = {one["request_id"]: one for one in records if one["kind"] == SLATE}
    return [row for one in slates.values() for row in _positions(one)]


def _positions(slate: Record) -> Rows:
    shared = {
        name: slate[name]
        for name in ("request_id", "user_id", "policy_id", "context_version", "candidate_ids")
    }
    return [
        {
            **shared,
            "position": position + 1,
            "item_id": slate["candidate_ids"][chosen],
            "event_ts": at(slate["moment"]),
            "propensity": slate["propensities"][position],
            "candidate_propensities": slate["probabilities"][position],
        }
        for position, chosen in enumerate(slate["chosen"])
        if chosen != EMPTY
    ]


def events(records: Iterable[Record]) -> Rows:
    """Return what investors did, as the service knows it: each event once, none forgotten.

    Complaints are no rows: no model knows such an action.
    """
    found = Knowledge.of(records).events
    return [
        {
            "event_id": one.event_id,
            "user_id": one.user_id,
            "item_id": one.item_id,
            "action": one.action,
            "event_ts": at(one.moment),
            "time_kind": "exact",
            "amount_eur": one.value if one.action in ("buy", "sell") else None,
            "units": one.value if one.action == "rate" else None,
            "channel": one.channel,
            "request_id": one.request_id,
        }
        for one in sorted(found.values(), key=lambda one: (one.moment, one.event_id))
        if one.action != COMPLAIN
    ]


def outcomes(shown: pa.Table, happened: pa.Table) -> pa.Table:
    """Return what came of slates: the first event of each request, item and action.

    What nobody was shown is no outcome, though it is an event.

    Parameters
    ----------
    shown, happened : pa.Table
        Exposures and events, each row once, in any order.
    """
    pairs = shown.select(["request_id", "item_id"]).group_by(["request_id", "item_id"])
    named = happened.filter(pc.is_valid(happened["request_id"]))
    found = named.join(pairs.aggregate([]), ["request_id", "item_id"], join_type="inner")
    value = pc.fill_null(found["amount_eur"], 0.0)
    found = found.append_column("value", value).sort_by(
        [("event_ts", "ascending"), ("event_id", "ascending")]
    )
    key = list(OUTCOMES.key)
    first = found.group_by(key, use_threads=False).aggregate(
        [("value", "first"), ("event_ts", "first")]
    )
    columns = {name: first[name if name in key else f"{name}_first"] for name in OUTCOMES.names}
    return pa.table(columns).sort_by([(name, "ascending") for name in key])


def prices(records: Iterable[Record]) -> pa.Table:
    """Return the closes that were told: of one item and time the telling that came last."""
    last: dict[tuple[str, int], Close] = {}
    for one in (close_of(record) for record in records if record["kind"] == CLOSE):
        before = last.get((one.item_id, one.moment))
        if before is None or (before.told, before.rank) < (one.told, one.rank):
            last[one.item_id, one.moment] = one
    rows = [
        {"item_id": one.item_id, "price_ts": at(one.moment), "close_eur": one.close_eur}
        for one in last.values()
    ]
    return _typed(rows, PRICES)


def users(records: Iterable[Record]) -> pa.Table:
    """Return the classes that were told, each from when it was told and as long as it counted.

    Who served before that knew nothing of it, so no row holds from an earlier time, whatever was
    said.  What was told late, behind something that holds since later, never counted and is no row.
    """
    last: dict[str, InvestorClass] = {}
    found: dict[tuple[str, int], dict[str, Any]] = {}
    told = (class_of(record) for record in records if record["kind"] == CLASS)
    for one in sorted(told, key=lambda one: (one.moment, one.order)):
        before = last.get(one.user_id)
        if before is not None and one.order <= before.order:
            continue
        last[one.user_id] = one
        at_once = found.get((one.user_id, one.moment), {})
        found[one.user_id, one.moment] = {
            "user_id": one.user_id,
            "valid_from": at(one.moment),
            "risk_class": one.risk_class,
            "capacity_class": one.capacity_class or at_once.get("capacity_class"),
            "holds_from": at(one.valid_from),
        }
    return _typed(list(found.values()), TOLD_USERS)


def tables(records: Iterable[Record], earlier: Earlier | None = None) -> dict[str, pa.Table]:
    """Return what records hold as tables in the contracts, without what `earlier` holds already."""
    records = list(records)
    shown, happened = _typed(exposures(records), EXPOSURES), _typed(events(records), EVENTS)
    known = shown.schema.empty_table()
    if earlier is not None:
        shown = shown.filter(pc.invert(pc.is_in(shown["request_id"], earlier.requests(shown))))
        happened = happened.filter(pc.invert(pc.is_in(happened["event_id"], earlier.ids(happened))))
        known = earlier.shown(happened)
    answered = outcomes(pa.concat_tables([known, shown]), happened)
    return {EXPOSURES.name: shown, OUTCOMES.name: answered, EVENTS.name: happened}


class Earlier(Protocol):
    """What was sealed before."""

    def requests(self, shown: pa.Table) -> pa.Array:
        """Return those of the requests that were sealed before."""

    def ids(self, happened: pa.Table) -> pa.Array:
        """Return those of the events that were sealed before."""

    def shown(self, happened: pa.Table) -> pa.Table:
        """Return the exposures of the requests that events name."""


def write_tables(found: Mapping[str, pa.Table], folder: Path) -> dict[str, Any]:
    """Write tables in the contracts into a folder that is there.

    Returns
    -------
    dict
        For each table its rows and the SHA-256 of its file.
    """
    told: dict[str, Any] = {}
    for name, rows in found.items():
        path = folder / f"{name}.parquet"
        write_table(rows, TOLD_USERS if name == USERS.name else TABLES[name], path)
        told[name] = {"rows": len(rows), "sha256": sha256(path)}
    return told


def seal(found: Mapping[str, pa.Table], folder: Path) -> dict[str, Any]:
    """Write tables into a folder that is new; what `write_tables` says lies in `log.json` too."""
    told = write_tables(found, folder)
    (folder / "log.json").write_text(json.dumps(told, indent=2) + "\n")
    return told


def _typed(rows: Rows, table: Table) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema(table))
