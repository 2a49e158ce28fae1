"""Segments of the served log become tables in the contracts, each with its count and hash.

A request or an event that lies in several segments, because it was sent again, is written once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from tessera.contracts.arrow import schema, write_table
from tessera.contracts.hashes import sha256
from tessera.contracts.tables import EVENTS, EXPOSURES, OUTCOMES, Table
from tessera.serve.events import Knowledge, Record
from tessera.serve.service import SLATE
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
    """Return what investors did, as the service knows it: each event once, none forgotten."""
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
    ]


def outcomes(records: Iterable[Record]) -> Rows:
    """Return what came of slates: the first event of each request, item and action."""
    records = list(records)
    shown = {(row["request_id"], row["item_id"]) for row in exposures(records)}
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in events(records):
        key = (row["request_id"], row["item_id"], row["action"])
        if key[:2] in shown:  # what nobody was shown is no outcome, though it is an event
            found.setdefault(
                key,
                {
                    "request_id": key[0],
                    "item_id": key[1],
                    "action": key[2],
                    "value": row["amount_eur"] or 0.0,
                    "event_ts": row["event_ts"],
                },
            )
    return list(found.values())


def seal(records: Iterable[Record], folder: Path) -> dict[str, Any]:
    """Write the tables of a log into a folder that is new, and say what is in it.

    Returns
    -------
    dict
        For each table its rows and the SHA-256 of its file; the same lies in `log.json`.
    """
    records = list(records)
    told: dict[str, Any] = {}
    for table, rows in (
        (EXPOSURES, exposures(records)),
        (OUTCOMES, outcomes(records)),
        (EVENTS, events(records)),
    ):
        path = folder / f"{table.name}.parquet"
        write_table(_typed(rows, table), table, path)
        told[table.name] = {"rows": len(rows), "sha256": sha256(path)}
    (folder / "log.json").write_text(json.dumps(told, indent=2) + "\n")
    return told


def _typed(rows: Rows, table: Table) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=schema(table))
