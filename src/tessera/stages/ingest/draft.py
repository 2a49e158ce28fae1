"""A table as its source wrote it: contract columns, still text where the source is text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import ibis.expr.types as ir

from tessera.stages.ingest.counts import Counts, Rejected

FAULT = "source_fault"
"""Optional column: what this source knows to be wrong with a row, else null."""
UNREAD = "source_unread"
"""Optional column: what could not be read in a row; told before any rule that it breaks."""


@dataclass(frozen=True, slots=True)
class Draft:
    """Rows in contract columns plus `source_file`, `source_row`; absent columns are null."""

    rows: ir.Table
    rejected: tuple[Rejected, ...] = ()
    """Lines that are no rows."""
    key: tuple[str, ...] = ()
    """Columns that make a row unique, if not the contract's key."""
    counts: Counts | None = None
    """What the physical lines of its files were, if each row is a record of them."""
    source_names: Mapping[str, str] = field(default_factory=dict)
    """Contract column -> the source's own name of it, for messages."""
    should_hold: Mapping[str, str] = field(default_factory=dict)
    """Contract column -> what its values should look like, where the source says more than its
    contract."""

    def called(self, column: str) -> str:
        """Name a column as the person who wrote the file knows it."""
        return self.source_names.get(column, column)


Drafts = dict[str, Draft]
"""Table name -> draft; a table that a source does not have is absent."""
