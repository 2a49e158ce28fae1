"""Split a draft exactly in two: rows that keep every rule, and rows with the rule they broke.

A duplicate of the whole row keeps its first copy, as does one that says the same since another
time; rows that share a key and differ are all set aside, because nothing in them says which one is
right.
"""

from __future__ import annotations

from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from tessera.contracts.columns import Column, Table
from tessera.contracts.errors import BadInput
from tessera.contracts.rules import IBIS_DTYPE, TEXT, first_broken, parsed, rules
from tessera.stages.ingest.draft import FAULT, UNREAD, Draft
from tessera.stages.ingest.engine import FILE, ROW, Engine
from tessera.stages.ingest.past import HAPPENED, Past
from tessera.stages.ingest.together import broken_together

REASON = "reason"
_KNOWN = "item_known"
NOT_IN_ITEMS = "item_id: not in items"
_QUOTED = 40
"""Characters of a value that are shown."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """The two halves of a draft."""

    good: ir.Table
    """Contract columns, not yet sorted."""
    bad: ir.Table | None
    """Columns as the source wrote them, source_file, source_row and reason; None if all is good."""
    rows: int
    """Rows of the draft, rejected lines not counted."""


def sift(
    table: Table,
    draft: Draft,
    engine: Engine,
    items: ir.Table | None = None,
    past: Past | None = None,
) -> Sifted:
    """Judge every row of a draft.

    Parameters
    ----------
    table : Table
        Contract of the rows.
    draft : Draft
        What the source wrote.
    engine : Engine
        Where intermediate tables are kept.
    items : ir.Table, optional
        Good items; a row whose item_id is not among them is bad.
    past : Past, optional
        When what has happened can have happened.

    Raises
    ------
    BadInput
        If a column is missing, of a type that cannot be read, or wrong in every row.
    """
    judged = engine.view(f"judged_{table.name}", _judge(table, draft, items, past))
    rows, any_broken = _refuse_wrong_columns(table, draft, judged)
    good = judged.filter(judged[REASON].isnull())
    broken = _quote(table, judged.filter(judged[REASON].notnull()), any_broken)
    key = list(draft.key or table.key)
    repeated, any_repeated = engine.keep(
        good.group_by(key).agg(copies=ibis._.count()).filter(ibis._.copies > 1).drop("copies"),
        f"repeated_{table.name}",
    )
    if any_repeated:
        named = ", ".join(dict.fromkeys(draft.called(column) for column in key))
        copies, _ = engine.keep(
            _mark_copies(table, good.semi_join(repeated, key), key, named), f"copies_{table.name}"
        )
        once = good.anti_join(repeated, key).drop(REASON)
        good = once.union(copies.filter(copies[REASON].isnull()).drop(REASON))
        broken = broken.union(copies.filter(copies[REASON].notnull()))
    bad = _as_written(table, broken) if any_broken or any_repeated else None
    return Sifted(good.select(table.names), bad, rows)


def _judge(
    table: Table, draft: Draft, items: ir.Table | None, past: Past | None = None
) -> ir.Table:
    """Add typed columns, what they were parsed from, and the first broken rule."""
    typed = in_contract(table, draft)
    unread, fault = (
        typed[name] if name in typed.columns else ibis.null("string") for name in (UNREAD, FAULT)
    )
    reason = ibis.coalesce(
        unread,
        first_broken(rules(table), typed),
        _not_past(typed, past),
        broken_together(table, typed),
        fault,
    )
    spare = {FAULT, UNREAD} & set(typed.columns)
    if items is None:
        return typed.mutate(**{REASON: reason}).drop(*spare)
    known = items.select(_item=items.item_id, **{_KNOWN: ibis.literal(True)})
    joined = typed.mutate(**{REASON: reason}).left_join(known, typed.item_id == known._item)
    unknown = ibis.ifelse(joined[_KNOWN].isnull(), NOT_IN_ITEMS, ibis.null("string"))
    judged = joined.mutate(**{REASON: ibis.coalesce(joined[REASON], unknown)})
    return judged.drop("_item", _KNOWN, *spare)


def _not_past(typed: ir.Table, past: Past | None) -> ir.StringColumn:
    """Name what cannot have happened then; null where all can."""
    reasons = [ibis.null("string")]
    for column in HAPPENED:
        if past is not None and column in typed.columns:
            at = typed[column]
            reasons += [
                ibis.ifelse(at < past.earliest, past.too_early(column), ibis.null("string")),
                ibis.ifelse(at >= past.latest, past.too_late(column), ibis.null("string")),
            ]
    return ibis.coalesce(*reasons)


def in_contract(table: Table, draft: Draft) -> ir.Table:
    """Return all columns of the contract in its types, and beside them what they were read from."""
    rows = draft.rows
    columns: dict[str, ir.Value] = {}
    for column in table.columns:
        if column.name not in rows.columns:
            columns[column.name] = ibis.null(IBIS_DTYPE[column.dtype])
            continue
        value, text = rows[column.name], TEXT + column.name
        if text in rows.columns:
            columns[text] = rows[text]
        if value.type().is_string() and column.dtype != "string":
            columns.setdefault(text, value.nullif(""))
            columns[column.name] = parsed(value.nullif(""), column.dtype)
        else:
            columns[column.name] = _cast(value, column, draft)
    extra = [name for name in (FILE, ROW, FAULT, UNREAD) if name in rows.columns]
    return rows.select(**columns, **{name: rows[name] for name in extra})


def _cast(value: ir.Column, column: Column, draft: Draft) -> ir.Column:
    """Widen a typed column to its contract type; text stays as it is, empty text is null."""
    found, wanted = value.type(), ibis.dtype(IBIS_DTYPE[column.dtype])
    widens = (
        (found.is_integer() and (wanted.is_integer() or wanted.is_floating()))
        or (found.is_floating() and wanted.is_floating())
        or (found.is_decimal() and wanted.is_floating())
        or ((found.is_timestamp() or found.is_date()) and wanted.is_timestamp())
        or (found.is_array() and wanted.is_array())
        or (found.is_boolean() and wanted.is_boolean())
        or found.is_null()
    )
    if wanted.is_string():
        return (value if found.is_string() else value.cast("string")).nullif("")
    if not widens:
        raise BadInput(
            f"column {draft.called(column.name)} holds {found}, should hold {column.dtype}: mend it"
        )
    return value if found == wanted else value.cast(wanted)


def _refuse_wrong_columns(table: Table, draft: Draft, judged: ir.Table) -> tuple[int, int]:
    """Count rows and broken ones; a column that no row can read is a wrong file, not wrong rows."""
    from_text = [
        column
        for column in table.columns
        if TEXT + column.name in judged.columns and column.dtype != "string"
    ]
    sums = {"rows": judged.count(), "broken": judged[REASON].count()}
    for column in from_text:
        text, value = judged[TEXT + column.name], judged[column.name]
        sums[f"given_{column.name}"] = text.count()
        sums[f"read_{column.name}"] = value.count()
        sums[f"like_{column.name}"] = text.max()
    files = judged.group_by(FILE).agg(**sums).order_by(FILE).to_pyarrow().to_pylist()
    for file in files:
        for column in from_text:
            if file[f"given_{column.name}"] and not file[f"read_{column.name}"]:
                like = str(file[f"like_{column.name}"])[:_QUOTED]
                should = draft.should_hold.get(column.name, _SHOULD[column.dtype])
                raise BadInput(
                    f"{file[FILE]}: column {draft.called(column.name)} should hold "
                    f"{should}, but no row does (such as {like!r}): mend the file"
                )
    return sum(file["rows"] for file in files), sum(file["broken"] for file in files)


def _quote(table: Table, broken: ir.Table, any_broken: int) -> ir.Table:
    """Add to each reason one of the values that broke it: the same for all its rows."""
    written = [
        (broken[REASON].startswith(f"{column.name}: "), _shown(broken, column.name))
        for column in table.columns
        if (TEXT + column.name in broken.columns or column.dtype == "string")
        and not column.personal
    ]
    if not any_broken or not written:
        return broken
    value = ibis.cases(*written, else_=ibis.null("string"))
    likes = broken.group_by(REASON).agg(like=value.max()).to_pyarrow().to_pylist()
    told = [
        (broken[REASON] == row[REASON], f"{row[REASON]}, such as {row['like'][:_QUOTED]!r}")
        for row in likes
        if row["like"] and row[REASON] != NOT_IN_ITEMS
    ]
    if not told:
        return broken
    return broken.mutate(**{REASON: ibis.cases(*told, else_=broken[REASON])})


def _shown(rows: ir.Table, column: str) -> ir.StringColumn:
    """Show what the source wrote, or the value where it is the same."""
    if TEXT + column not in rows.columns:
        return rows[column]
    text = rows[TEXT + column]
    return ibis.coalesce(text, rows[column]) if rows[column].type().is_string() else text


_SHOULD = {
    "int64": "whole numbers",
    "float64": "numbers",
    "timestamp": "ISO dates",
    "bool": "true or false",
    "strings": "lists of text",
    "floats": "lists of numbers",
    "ints": "lists of whole numbers",
}


def _mark_copies(table: Table, rows: ir.Table, key: list[str], named: str) -> ir.Table:
    """Give each row of a repeated key its reason; the first of equal rows has none."""
    content = [name for name in table.names
               if (name not in table.key or name in key) and name != table.since]  # fmt: skip
    since = [rows[table.since].notnull(), rows[table.since]] if table.since else []
    versions = ibis.window(group_by=key, order_by=content)
    copies = ibis.window(group_by=content, order_by=[*since, FILE, ROW])
    ranked = rows.mutate(
        _version=ibis.dense_rank().over(versions), _copy=ibis.row_number().over(copies)
    )
    most = ranked.mutate(_versions=ranked._version.max().over(ibis.window(group_by=key)))
    reason = ibis.cases(
        (most._versions > 0, f"key ({named}): rows differ"),
        (most._copy > 0, "duplicate"),
        else_=ibis.null("string"),
    )
    return most.mutate(**{REASON: reason}).select(rows.columns)


def _as_written(table: Table, rows: ir.Table) -> ir.Table:
    columns = {column.name: _written(rows, column) for column in table.columns}
    return rows.select(**columns, **{name: rows[name] for name in (FILE, ROW, REASON)})


def _written(rows: ir.Table, column: Column) -> ir.Column:
    text = TEXT + column.name
    if text not in rows.columns:
        return rows[column.name]
    if column.dtype == "string":
        return ibis.coalesce(rows[text], rows[column.name])
    return rows[text]
