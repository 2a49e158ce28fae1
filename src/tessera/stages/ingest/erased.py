"""Rows of those who were erased from the service are left out of the source's files too."""

from __future__ import annotations

from dataclasses import replace

import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from tessera.contracts.columns import Table
from tessera.contracts.tables import EVENTS, EXPOSURES, OUTCOMES, QUERIES, USERS
from tessera.shared.erased import NEVER, ErasedList
from tessera.stages.ingest.counts import Counts
from tessera.stages.ingest.draft import Draft, Drafts
from tessera.stages.ingest.engine import Engine
from tessera.stages.ingest.row_checks import in_contract

_WHEN = {
    EVENTS.name: "event_ts",
    EXPOSURES.name: "event_ts",
    QUERIES.name: "event_ts",
    USERS.name: "valid_from",
}


def without_erased(base: Drafts, erased: ErasedList, engine: Engine) -> Drafts:
    """Leave out what investors did, asked, were shown and were until they were erased."""
    if not erased.until:
        return base
    kept = dict(base)
    for table in (EVENTS, EXPOSURES, QUERIES, USERS):
        if table.name in base:
            kept[table.name] = _without(table, base[table.name], erased, engine)
    if EXPOSURES.name in base and OUTCOMES.name in base:
        answers, shown = base[OUTCOMES.name], in_contract(EXPOSURES, base[EXPOSURES.name])
        gone = shown.anti_join(kept[EXPOSURES.name].rows, "request_id")
        rows = in_contract(OUTCOMES, answers).anti_join(gone, "request_id")
        kept[OUTCOMES.name] = _counted(OUTCOMES, answers, rows, engine)
    return kept


def _without(table: Table, draft: Draft, erased: ErasedList, engine: Engine) -> Draft:
    rows = in_contract(table, draft)
    users = rows.user_id.cast("string").name("user_id").as_table().distinct().to_pyarrow()
    known = {user: erased.until_of(user) for user in users["user_id"].to_pylist() if user}
    gone = {user: until for user, until in known.items() if until != NEVER}
    if not gone:
        return draft
    until = pa.array(gone.values(), pa.timestamp("us", tz="UTC"))
    path = engine.spill / f"erased_{table.name}.parquet"
    pq.write_table(pa.table({"gone_id": list(gone), "until": until}), path)
    listed = engine.read(path, path.stem)
    beside = rows.left_join(listed, rows.user_id == listed.gone_id)
    left = beside.filter(beside.until.isnull() | (beside[_WHEN[table.name]] > beside.until))
    return _counted(table, draft, left.select(rows.columns), engine)


def _counted(table: Table, draft: Draft, rows: ir.Table, engine: Engine) -> Draft:
    kept, count = engine.keep(rows, f"not_erased_{table.name}")
    before = int(in_contract(table, draft).count().to_pyarrow().as_py())
    counts = replace(draft.counts) if draft.counts else Counts(records=before)
    counts.add(Counts(left_out=before - count))
    return replace(draft, rows=kept, counts=counts)
