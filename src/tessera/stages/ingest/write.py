"""Both halves of every table reach the disk, sorted, and nothing is lost between them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from tessera.contracts.arrow import schema, write_table
from tessera.contracts.errors import InvalidTable, LostRows
from tessera.contracts.tables import QUARANTINE, TABLES
from tessera.stages.ingest.counts import Counts, Rejected
from tessera.stages.ingest.draft import Draft
from tessera.stages.ingest.engine import FILE, ROW, Engine
from tessera.stages.ingest.joins import Join
from tessera.stages.ingest.losses import Loss, losses, require_few, require_rows
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.past import Past
from tessera.stages.ingest.row_checks import NOT_IN_ITEMS, REASON, Sifted, sift
from tessera.stages.ingest.source import conventions

_BATCH = 250_000
_REFER_TO_ITEMS = ("events", "exposures", "links")
_TIME_FIRST = {"events": ["event_ts", "event_id"]}
"""Events lie in order of time; other tables in order of their key."""


@dataclass(frozen=True, slots=True)
class _Part:
    table: str
    rows: ir.Table | None
    rejected: tuple[Rejected, ...]


@dataclass(slots=True)
class Quarantine:
    """Collects what each table set aside; written when the block ends well or with `LostRows`."""

    path: Path
    engine: Engine
    parts: list[_Part] = field(default_factory=list)
    found: dict[str, tuple[Loss, ...]] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    lines: dict[str, Counts] = field(default_factory=dict)
    """What the physical lines of tables from text files were."""
    coverage: dict[str, float] = field(default_factory=dict)
    shaped: dict[str, Counts] = field(default_factory=dict)
    """What was left out of tables that are not all of their files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, LostRows):
            self._write()
        if isinstance(error, LostRows):
            error.metrics = self.metrics()

    def add(self, name: str, draft: Draft, sifted: Sifted, good: int) -> None:
        """Note the bad half of a table."""
        seen = sifted.rows + len(draft.rejected)
        self.counts[name] = {
            "in": draft.counts.rows if draft.counts else seen,
            "good": good,
            "quarantined": 0,
        }
        if draft.counts and draft.counts.lines:
            self.lines[name] = draft.counts
        if draft.counts and (draft.counts.left_out or draft.counts.split):
            self.shaped[name] = draft.counts
        kept = None
        if sifted.bad is not None:  # computed once: it is counted, shown and written
            kept, _ = self.engine.keep(sifted.bad, f"bad_{name}")
        rows = None if kept is None else kept.order_by([FILE, ROW, REASON])
        self.parts.append(_Part(name, rows, draft.rejected))
        self.found[name] = losses(name, draft, kept)

    def require(self, name: str, params: IngestParams) -> None:
        """Hold a table that was added to what it may lose; see `require_rows`, `require_few`."""
        if name not in self.counts:
            return
        counts, found = self.counts[name], self.found[name]
        mapped = bool(conventions(params.base).mapped)
        require_rows(name, found, counts["in"], counts["good"], mapped=mapped)
        require_few(name, found, counts["in"], params)

    def filled(self) -> list[str]:
        """Name the tables that hold a good row."""
        return [name for name, counts in self.counts.items() if counts["good"]]

    def joined(self, found: list[Join]) -> None:
        """Note how much of each table another one knows."""
        self.coverage = {join.name: join.coverage for join in found}

    def metrics(self) -> dict[str, float]:
        """Count rows in, good and quarantined of every table, their lines, and how joins find."""
        flat = {
            f"{name}_{what}": float(count)
            for name, counts in self.counts.items()
            for what, count in counts.items()
        }
        for name, found in self.lines.items():
            flat[f"{name}_lines"] = float(found.lines)
            for what in ("header", "blank", "comment", "joined"):
                flat[f"{name}_lines_{what}"] = float(getattr(found, what))
        for name, found in self.shaped.items():
            flat[f"{name}_left_out"], flat[f"{name}_split"] = found.left_out, found.split
        for what in ("in", "good", "quarantined"):
            flat[f"rows_{what}"] = float(sum(counts[what] for counts in self.counts.values()))
        return flat | self._known_items() | self.coverage

    def _known_items(self) -> dict[str, float]:
        """Say which share of the rows that are good otherwise names a known item."""
        known = {}
        for name in _REFER_TO_ITEMS:
            good = self.counts.get(name, {}).get("good", 0)
            found = self.found.get(name, ())
            lost = sum(loss.rows for loss in found if loss.reason == NOT_IN_ITEMS)
            if good + lost:
                known[f"coverage_{name}_items"] = good / (good + lost)
        return known

    def _write(self) -> None:
        reader = pa.RecordBatchReader.from_batches(schema(QUARANTINE), self._batches())
        write_table(reader, QUARANTINE, self.path)
        for name, counts in self.counts.items():
            if counts["in"] != counts["good"] + counts["quarantined"]:
                raise InvalidTable(
                    f"{name}: {counts['in']} rows in, but {counts['good']} good and "
                    f"{counts['quarantined']} quarantined: report this as a fault of ingest"
                )

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for part in self.parts:
            for rows in _rejected_rows(part), *_bad_rows(part, self.engine):
                if rows:
                    self.counts[part.table]["quarantined"] += len(rows)
                    yield pa.RecordBatch.from_pylist(rows, schema(QUARANTINE))


def _rejected_rows(part: _Part) -> list[dict[str, Any]]:
    personal = TABLES[part.table].personal
    return [
        {
            "table": part.table,
            "source_file": line.source_file,
            "source_row": line.source_row,
            "reason": line.reason,
            # What a line holds that is no row, nobody knows.
            "row": None if personal else json.dumps(line.row, ensure_ascii=False),
        }
        for line in part.rejected
    ]


def _bad_rows(part: _Part, engine: Engine) -> Iterator[list[dict[str, Any]]]:
    if part.rows is None:
        return
    with engine.batches(part.rows) as batches:
        for batch in batches:
            yield [_set_aside(part.table, row) for row in batch.to_pylist()]


def _set_aside(table: str, row: dict[str, Any]) -> dict[str, Any]:
    place = {name: row.pop(name) for name in (FILE, ROW, REASON)}
    kept = row.keys() - TABLES[table].personal
    given = {name: value for name, value in row.items() if name in kept and value is not None}
    return {"table": table, **place, "row": json.dumps(given, default=_text, ensure_ascii=False)}


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def write_good(
    name: str, draft: Draft | None, path: Path, quarantine: Quarantine, past: Past
) -> None:
    """Sift a draft and write its good half; a source without this table writes an empty one.

    Raises
    ------
    BadInput
        If a column is missing or wrong in every row.
    """
    table, engine = TABLES[name], quarantine.engine
    if draft is None:
        write_table(schema(table).empty_table(), table, path)
        return
    items = None
    if name in _REFER_TO_ITEMS:
        items = engine.read(path.parent / "items.parquet", "items")
    sifted = sift(table, draft, engine, items, past)
    ordered = sifted.good.order_by(_TIME_FIRST.get(name, list(table.key)))
    with engine.batches(ordered) as batches:
        write_table(_even(batches), table, path)
    good = pq.read_metadata(path).num_rows
    quarantine.add(name, draft, sifted, good)


def _even(batches: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """Cut batches to one size, since an engine's sizes depend on its threads."""

    def cut() -> Iterator[pa.RecordBatch]:
        waiting = batches.schema.empty_table()
        for batch in batches:
            waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])])
            while waiting.num_rows >= _BATCH:
                yield from waiting.slice(0, _BATCH).combine_chunks().to_batches()
                waiting = waiting.slice(_BATCH)
        yield from waiting.combine_chunks().to_batches()

    return pa.RecordBatchReader.from_batches(batches.schema, cut())
