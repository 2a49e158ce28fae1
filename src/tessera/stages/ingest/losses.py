"""What of each table was lost: counted by reason, held to a ceiling, told with value and remedy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from tessera.contracts.errors import LostRows
from tessera.contracts.tables import TABLES
from tessera.stages.ingest.draft import Draft
from tessera.stages.ingest.engine import FILE, ROW
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ingest.row_checks import NOT_IN_ITEMS, REASON

_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Loss:
    """Rows of one table that broke one rule."""

    table: str
    reason: str
    rows: int
    file: str
    """Where the first of them stands."""
    row: int
    value: str | None
    """What stands there; None if the reason is no matter of one value."""
    column: str | None
    """Name of the column in the file."""

    @property
    def rule(self) -> str:
        """The reason without the value that it quotes."""
        return self.reason.split(", such as ")[0]

    @property
    def told(self) -> str:
        """How the params call it: `users: risk_class: not a whole number`."""
        return f"{self.table}: {self.reason}"


def losses(table: str, draft: Draft, bad: ir.Table | None) -> tuple[Loss, ...]:
    """Count what a table loses, the commonest reason first.

    Parameters
    ----------
    table : str
        Its name.
    draft : Draft
        As the source wrote it.
    bad : ir.Table, optional
        Rows that broke a rule, with source_file, source_row and reason.
    """
    found: dict[str, Loss] = {}
    lines = [(line.reason, line.source_file, line.source_row, line.row) for line in draft.rejected]
    personal = TABLES[table].personal
    for reason, file, row, line in lines:
        text = None if personal else line
        rows = found[reason].rows + 1 if reason in found else 1
        place = found.get(reason) or Loss(table, reason, 0, file, row, text, None)
        found[reason] = Loss(table, reason, rows, place.file, place.row, place.value, None)
    for one in _by_reason(table, draft, bad):
        found[one.reason] = one
    return tuple(sorted(found.values(), key=lambda loss: (-loss.rows, loss.reason)))


def _by_reason(table: str, draft: Draft, bad: ir.Table | None) -> list[Loss]:
    if bad is None:
        return []
    places = ibis.window(group_by=bad[REASON], order_by=[bad[FILE], bad[ROW]])
    alike = ibis.window(group_by=bad[REASON])
    placed = bad.mutate(_place=ibis.row_number().over(places), _rows=bad.count().over(alike))
    firsts = placed.filter(placed._place == 0).to_pyarrow().to_pylist()
    return [_loss(table, draft, first) for first in firsts]


def _loss(table: str, draft: Draft, first: dict[str, object]) -> Loss:
    reason = str(first[REASON])
    column = reason.split(":")[0]
    known = column in TABLES[table].names
    value = first.get(column) if known and column not in TABLES[table].personal else None
    return Loss(
        table,
        reason,
        int(str(first["_rows"])),
        str(first[FILE]),
        int(str(first[ROW])),
        None if value is None else str(value),
        draft.called(column) if known else None,
    )


def require_rows(table: str, found: Sequence[Loss], rows: int, good: int, *, mapped: bool) -> None:
    """Refuse a table of which nothing is left.

    Parameters
    ----------
    table : str
        Its name.
    found : sequence of Loss
        What it lost.
    rows, good : int
        Rows of the source, and those that are good.
    mapped : bool
        Whether a person asked for this very table, so that an empty one is a mistake.

    Raises
    ------
    LostRows
        If it must have rows, or had some and lost all.
    """
    least = TABLES[table].min_rows
    if good and good >= least:
        return
    if rows:
        first = found[0] if found else None
        why = f": most often {_seen(first)}; {_remedy(first)}" if first else ""
        raise LostRows(f"{table}: no good row among {rows:,}{why}")
    if least or mapped:
        raise LostRows(
            f"{table}: no good row among 0: its file holds none; put rows there"
            + ("" if least else f", or leave {table} out of ingest.mapping")
        )


def require_few(table: str, found: Sequence[Loss], rows: int, params: IngestParams) -> None:
    """Refuse a table that lost more than the params allow.

    Reasons without a ceiling of their own share that of the table.

    Raises
    ------
    LostRows
        Naming table, reason, share, a value seen, and what to do.
    """
    for key in dict.fromkeys(_key(loss, params) for loss in found):
        share_of = [loss for loss in found if _key(loss, params) == key]
        ceiling = params.max_quarantined if key is None else params.max_quarantined_by[key]
        lost = sum(loss.rows for loss in share_of)
        # A single row says little of a file, however short the file is.
        if lost > max(ceiling * rows, 1 if ceiling else 0):
            raise LostRows(_too_many(table, share_of, lost, rows, ceiling))


def _key(loss: Loss, params: IngestParams) -> str | None:
    """Return the longest key of `max_quarantined_by` that begins what is said of a loss."""
    keys = [key for key in params.max_quarantined_by if loss.told.startswith(key)]
    return max(keys, key=len, default=None)


def _too_many(table: str, found: Sequence[Loss], lost: int, rows: int, ceiling: float) -> str:
    first = found[0]
    most = "" if len(found) == 1 else f"{len(found)} reasons, {first.rows:,} times "
    of_one = ": " + re.sub(r":.*", "", first.reason) if len(found) == 1 else ""
    return (
        f"{table}: {lost:,} of {rows:,} rows ({lost / rows:.1%}) went to quarantine, at most "
        f"{ceiling:.1%} may: {most}{_seen(first)}; {_remedy(first)}, or allow it by "
        f"ingest.max_quarantined_by: {{'{table}{of_one}': {_enough(lost / rows)}}}"
    )


def _enough(share: float) -> str:
    return f"{min(1.0, share + 0.005):.2f}"


def _seen(loss: Loss) -> str:
    """Say the reason, and what stands in the first row that it was found in."""
    value = "" if loss.value is None else f" holds {loss.value[:_SHOWN]!r}"
    column = f" {loss.column}" if loss.column else ""
    return f"`{loss.rule}` (first {loss.file} row {loss.row}{column and ','}{column}{value})"


def _remedy(loss: Loss) -> str:
    """Say what mends it."""
    mapping = f"ingest.mapping.{loss.table}"
    if loss.reason == NOT_IN_ITEMS:
        return "see that both files write the item alike (case, zeros, spaces), or add it to items"
    return next((text.format(mapping) for part, text in _REMEDIES if part in loss.rule), _MEND)


_MEND = "mend the source"
_REMEDIES = (
    ("not one of", "map the values in {} (values), or mend the source"),
    ("the latest", "mend the date, or set ingest.latest"),
    ("the earliest", "mend the date, or set ingest.earliest"),
    ("outside", "mend the date, or say its unit or open_end in {}"),
    ("position: below", "the top position is 1: add 1 where it counts from 0"),
    ("rows differ", "keep one row of each key, or map a column that tells them apart in {}"),
    ("duplicate", "export each row once"),
    ("missing", "fill it, or map another column in {}"),
    ("a rounded number", "export the column as text"),
    ("no entry of", "add the value to `values` in {}, or say otherwise"),
    ("not above", _MEND),
    ("an item twice", "list each candidate once"),
    ("before valid_from", "mend the dates, or say open_end in {} if it means no end"),
    ("`currency`", "say `currency` in {}, or mend the source"),
    ("`percent`", "say `percent` in {}, or mend the source"),
    ("not a time like", "say the format of these too in {} (a list), or mend the source"),
    ("not as many", "export both lists of a row together"),
    ("not a", "say in {} how it is written, or mend the source"),
    ("line has", "see delimiter and quotes in {}, or mend the line"),
)
"""What a reason holds, and what to do then."""
