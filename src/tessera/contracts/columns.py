"""What a table is: columns with a type and a rule for every row, a key, and how few rows may be.

`floor` and `ceiling` are inclusive bounds; `positive` excludes zero.  Times are UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Dtype = Literal["string", "int64", "float64", "bool", "timestamp", "strings", "floats", "ints"]
"""`timestamp` is microseconds UTC; the plural names are lists of that type."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its type and the rule every row must satisfy."""

    name: str
    dtype: Dtype
    doc: str
    nullable: bool = False
    allowed: tuple[str, ...] | None = None
    floor: float | None = None
    ceiling: float | None = None
    positive: bool = False
    personal: bool = False
    """Free text of people: shown in no message, and set aside with no bad row."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its columns, its key (unique), and the least number of rows.

    `since` is the column that says since when a row is true: of rows that are alike but for it the
    first one counts, so that what is told or done again later takes nothing away.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    min_rows: int = 0
    since: str | None = None

    @property
    def personal(self) -> frozenset[str]:
        """Columns that hold free text of people."""
        return frozenset(column.name for column in self.columns if column.personal)

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]
