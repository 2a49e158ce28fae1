"""The served log beside the source that it goes on from: one table of each kind, each row once.

The log is what `tessera.serve` sealed: exposures, outcomes, events, and the closes and classes of
investors that were told, in the columns of the contracts.  Items are the source's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import ibis
import ibis.expr.types as ir

from tessera.contracts.columns import Table
from tessera.contracts.tables import EVENTS, EXPOSURES, OUTCOMES, PRICES, TOLD_USERS, USERS
from tessera.shared.erased import ErasedList
from tessera.stages.ingest.counts import Counts
from tessera.stages.ingest.draft import Draft, Drafts
from tessera.stages.ingest.engine import FILE, Engine, check_parquet
from tessera.stages.ingest.erased import without_erased
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.raw import require_columns
from tessera.stages.ingest.row_checks import in_contract
from tessera.stages.ingest.source import BASE, SERVED, find_source

_TABLES = (EXPOSURES, OUTCOMES, EVENTS, PRICES)
_DAY_S = 86_400
_SAME = {
    EVENTS.name: ["event_id"],
    EXPOSURES.name: ["request_id"],
    OUTCOMES.name: ["request_id"],
    PRICES.name: [*PRICES.key],
    USERS.name: [*USERS.key],
}
"""By which a row that the source exported too is known again: the log's own is kept."""
_NOTHING = "empty.json"
"""Lies in a log that holds nothing yet."""


@dataclass(frozen=True, slots=True)
class _Log:
    """Rows of the served log that stay, and how many there were."""

    rows: ir.Table
    read: int


def drafts(folder: Path, engine: Engine, params: IngestParams) -> Drafts:
    """Put the log behind what its source has."""
    base = cast(Drafts, find_source(params.base).drafts(folder / BASE, engine, params))
    base = without_erased(base, ErasedList.read(folder / SERVED), engine)
    if (folder / SERVED / _NOTHING).exists():
        return base
    log = {table.name: _read(table, folder, engine) for table in _TABLES}
    shown = _of_one_length(log[EXPOSURES.name], base.get(EXPOSURES.name), engine)
    kept = log | {
        EXPOSURES.name: shown,
        OUTCOMES.name: log[OUTCOMES.name].semi_join(shown, "request_id"),
        PRICES.name: _of_other_days(log[PRICES.name], base.get(PRICES.name)),
    }
    mixed = {
        table.name: _together(
            table, base.get(table.name), _Log(kept[table.name], _rows(log[table.name])), engine
        )
        for table in _TABLES
        if table.name in base or _rows(kept[table.name])  # nobody has to have clicked yet
    }
    return base | mixed | _with_classes(folder, base, engine)


def of_source(events: ir.Table, log: Path | None, engine: Engine) -> ir.Table:
    """Leave out the events that a log tells of; without one all of them are the source's."""
    if log is None or (log / _NOTHING).exists():
        return events
    told = engine.read(log / f"{EVENTS.name}.parquet", "told_by_the_log")
    return events.anti_join(told, _SAME[EVENTS.name])


def _read(table: Table, folder: Path, engine: Engine) -> ir.Table:
    label = f"{SERVED}/{table.name}.parquet"
    require_columns(label, check_parquet(folder / label).names, table.names)
    rows = engine.read_numbered(folder / label, f"log_{table.name}")
    return rows.mutate(**{FILE: ibis.literal(label)})


def _of_one_length(shown: ir.Table, base: Draft | None, engine: Engine) -> ir.Table:
    """Leave slates as long as the source's, or as most are: others are judged by nothing.

    What stands below says nothing of what stands above, so longer ones are cut.  Shorter ones are
    left out, unless nothing more could be shown: how many are asked for is known before the draw.
    """
    length = _longest(base) or _usual(shown)
    sizes = shown.group_by("request_id").agg(
        size=shown.position.max(), open=shown.candidate_ids.length().max()
    )
    whole = sizes.filter((sizes["size"] >= length) | (sizes["size"] >= sizes["open"]))
    kept = shown.filter(shown.position <= length).semi_join(whole, "request_id")
    return engine.view("log_of_one_length", kept)


def _of_other_days(closes: ir.Table, base: Draft | None) -> ir.Table:
    """Leave closes of days of which the source has none for the item.

    The source is where a price is looked up and put right; the log knew what was told that day.
    """
    if base is None:
        return closes
    theirs = in_contract(PRICES, base)
    days = theirs.select("item_id", day=_day(theirs)).distinct()
    return closes.mutate(day=_day(closes)).anti_join(days, ["item_id", "day"]).drop("day")


def _day(closes: ir.Table) -> ir.Value:
    """Return the day since 1970, UTC, whatever zone the engine is in."""
    return (closes.price_ts.epoch_seconds() / _DAY_S).floor()


def _with_classes(folder: Path, base: Drafts, engine: Engine) -> Drafts:
    """Put the classes that were told behind the source's versions of investors.

    Nobody told of one while a log was written that has no such table.
    """
    if not (folder / SERVED / f"{USERS.name}.parquet").exists():
        return {}
    told, theirs = _read(TOLD_USERS, folder, engine), base.get(USERS.name)
    read = _rows(told)
    if not read:
        return {}
    kept = engine.view("log_of_classes", _not_overruled(told, theirs))
    mixed = _together(USERS, theirs, _Log(kept, read), engine)
    return {USERS.name: replace(mixed, rows=_filled(mixed.rows, kept))}


def _not_overruled(told: ir.Table, base: Draft | None) -> ir.Table:
    """Leave what was told, but for what the source has since the same time, or knew better.

    That is where it has a version since a later time, until it was told.  The source is where a
    class is looked up and put right, as a close is.
    """
    if base is None:
        return told
    theirs = in_contract(USERS, base).select("user_id", since="valid_from")
    return told.anti_join(
        theirs,
        [
            told.user_id == theirs.user_id,
            theirs.since >= told.holds_from,
            theirs.since <= told.valid_from,
        ],
    )


def _filled(rows: ir.Table, told: ir.Table) -> ir.Table:
    """Give the versions that were told what nobody told: the segment, and the capacity of before.

    Of one investor, oldest first, capacity and segment: (3, mass) of the source, (null, null) and
    (1, null) told become (3, mass), (3, mass) and (1, mass).
    """
    marks = told.select("user_id", "valid_from", capacity_told=told.capacity_class.notnull())
    beside = rows.left_join(marks, ["user_id", "valid_from"]).select(*rows.columns, "capacity_told")
    until = ibis.window(group_by="user_id", order_by="valid_from", following=0)
    numbered = beside.mutate(
        _of_source=beside.capacity_told.isnull().cast("int64").sum().over(until),
        _of_capacity=beside.capacity_told.fill_null(True).cast("int64").sum().over(until),
    )
    # Behind each row that says something none says more, so that the greatest is what it says.
    by = {"segment": "_of_source", "capacity_class": "_of_capacity"}
    filled = {
        name: numbered[name].max().over(ibis.window(group_by=["user_id", number]))
        for name, number in by.items()
    }
    return numbered.mutate(**filled).select(*rows.columns)


def _longest(base: Draft | None) -> int:
    if base is None:
        return 0
    position = in_contract(EXPOSURES, base).position
    return int(position.max().to_pyarrow().as_py() or 0)


def _usual(shown: ir.Table) -> int:
    sizes = shown.group_by("request_id").agg(size=shown.position.max())
    counted = sizes.group_by("size").agg(slates=sizes.count())
    most = counted.order_by([ibis.desc("slates"), ibis.desc("size")]).limit(1).to_pyarrow()
    return int(most["size"][0].as_py()) if len(most) else 0


def _together(table: Table, base: Draft | None, log: _Log, engine: Engine) -> Draft:
    """Put the rows of the log behind those of the source, what both have once."""
    mine = in_contract(table, Draft(log.rows))
    if base is None:
        rows, both = engine.keep(mine, f"both_{table.name}")
        return Draft(rows, counts=Counts(records=log.read, left_out=log.read - both))
    theirs = in_contract(table, base)
    once = theirs.anti_join(mine, _SAME[table.name])
    lacking = {name: ibis.null(kind) for name, kind in theirs.schema().items()
               if name not in mine.columns}  # fmt: skip
    behind = mine.mutate(**lacking).select(theirs.columns)
    rows, both = engine.keep(once.union(behind), f"both_{table.name}")
    read = _rows(theirs) + log.read
    counts = replace(base.counts) if base.counts else Counts(records=_rows(theirs))
    counts.add(Counts(records=log.read, left_out=read - both))
    return replace(base, rows=rows, counts=counts)


def _rows(rows: ir.Table) -> int:
    return int(rows.count().to_pyarrow().as_py())
