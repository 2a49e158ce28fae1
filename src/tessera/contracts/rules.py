"""What makes a row good: named rules derived from the column definitions, for ingest and suites.

A rule is a boolean Ibis expression that is never null, so that it splits rows exactly in two.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import ibis
import ibis.expr.types as ir

from tessera.contracts.columns import Column, Dtype, Table

Kind = Literal["type", "not_null", "finite", "allowed", "positive", "floor", "ceiling", "time"]

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""Times outside [EARLIEST, LATEST) are typing errors."""

TEXT = "text_"
"""Prefix of the column that holds what the source wrote where the contract wants another type."""

IBIS_DTYPE: dict[Dtype, str] = {
    "string": "string",
    "int64": "int64",
    "float64": "float64",
    "bool": "boolean",
    "timestamp": "timestamp('UTC', 6)",
    "strings": "array<string>",
    "floats": "array<float64>",
    "ints": "array<int64>",
}
"""Type of each column inside an expression."""

_NUMBER = "[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?"
_NO_NUMBER = "[+-]?([nN][aA][nN]|[iI][nN][fF]([iI][nN][iI][tT][yY])?)"
"""Read as a float, so that `finite` names them."""
_CLOCK = "[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?"
SHAPE: dict[Dtype, tuple[str, str]] = {
    "int64": ("^[+-]?[0-9]+([.]0+)?$", "a whole number"),
    "float64": (f"^({_NUMBER}|{_NO_NUMBER})$", "a number"),
    "bool": ("^([tT][rR][uU][eE]|[fF][aA][lL][sS][eE])$", "true or false"),
    "timestamp": (f"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}({_CLOCK})?$", "an ISO date"),
}
"""Pattern of each type as text, and its name in words."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that must be true of one column in every row."""

    column: str
    kind: Kind
    reason: str
    """What the quarantine says of a row that breaks it."""
    limit: float | tuple[str, ...] | None = None


def rules(table: Table) -> tuple[Rule, ...]:
    """Derive every rule of a table; the first one that a row breaks is its reason."""
    return tuple(rule for column in table.columns for rule in _column_rules(column))


def _column_rules(column: Column) -> list[Rule]:
    name = column.name
    found = []
    if column.dtype in SHAPE:
        found.append(Rule(name, "type", f"{name}: not {expected(column.dtype)}"))
    if not column.nullable:
        found.append(Rule(name, "not_null", f"{name}: missing"))
    if column.dtype == "float64":
        found.append(Rule(name, "finite", f"{name}: NaN or infinite"))
    if column.allowed is not None:
        one_of = ", ".join(column.allowed)
        found.append(Rule(name, "allowed", f"{name}: not one of {one_of}", column.allowed))
    found += _bounds(column)
    if column.dtype == "timestamp":
        years = f"{EARLIEST.year} to {LATEST.year}"
        found.append(Rule(name, "time", f"{name}: outside {years}"))
    return found


def _bounds(column: Column) -> list[Rule]:
    name, found = column.name, []
    if column.positive:
        found.append(Rule(name, "positive", f"{name}: not above 0"))
    if column.floor is not None:
        found.append(Rule(name, "floor", f"{name}: below {column.floor:g}", column.floor))
    if column.ceiling is not None:
        found.append(Rule(name, "ceiling", f"{name}: above {column.ceiling:g}", column.ceiling))
    return found


def expected(dtype: Dtype) -> str:
    """Say in words what a column of this type should hold."""
    return SHAPE[dtype][1] if dtype in SHAPE else dtype


def parsed(text: ir.StringColumn, dtype: Dtype) -> ir.Column:
    """Read text as a type; what is not exactly of that shape becomes null.

    The shape is checked before the cast because engines differ in what they forgive: one reads
    `1.5` as the integer 2, another as null.
    """
    if dtype == "string":
        return text
    shape, _ = SHAPE[dtype]
    trimmed = text.strip()
    fits = trimmed.re_search(shape)
    if dtype == "int64":  # 3.0 is how pandas writes 3 beside a missing value
        trimmed = trimmed.re_replace("[.]0+$", "")
    return ibis.ifelse(fits, trimmed, ibis.null("string")).try_cast(IBIS_DTYPE[dtype])


def holds(rule: Rule, rows: ir.Table) -> ir.BooleanColumn:
    """Tell for each row whether it keeps a rule; null keeps all but `not_null`.

    Parameters
    ----------
    rule : Rule
        One of `rules(table)`.
    rows : ir.Table
        Contract columns; `text_<column>` beside a column that was parsed from text.
    """
    value = rows[rule.column]
    if rule.kind == "not_null":
        return value.notnull()
    if rule.kind == "type":
        text = TEXT + rule.column
        return value.notnull() | rows[text].isnull() if text in rows.columns else ibis.literal(True)
    return value.isnull() | _within(rule, value).fill_null(False)


def _within(rule: Rule, value: ir.Column) -> ir.BooleanColumn:
    checks = {
        # Parquet statistics leave NaN out and DuckDB trusts them, so that isnan and comparisons of
        # the value itself are optimised away; arithmetic is not: NaN and infinity times 0 are NaN
        "finite": lambda: value * 0.0 == 0.0,
        "allowed": lambda: value.isin(rule.limit),
        "positive": lambda: value > 0,
        "floor": lambda: value >= rule.limit,
        "ceiling": lambda: value <= rule.limit,
        "time": lambda: (value >= EARLIEST) & (value < LATEST),
    }
    return checks[rule.kind]()


def first_broken(checked: tuple[Rule, ...], rows: ir.Table) -> ir.StringColumn:
    """Name the first rule that each row breaks; null for a good row."""
    branches = [
        (~holds(rule, rows), rule.reason)
        for rule in checked
        if rule.kind != "type" or TEXT + rule.column in rows.columns
    ]
    return ibis.cases(*branches, else_=ibis.null("string"))
