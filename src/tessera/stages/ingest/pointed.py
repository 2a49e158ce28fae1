"""Ids that went through floats on their way: 17850.0 is 17850."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.compute as pc

from tessera.stages.ingest.columns import NULL_WORDS

_POINTED = r"^\s*-?[0-9]+\.0+\s*$"
_WHOLE = r"^\s*(-?[0-9]+)?\s*$"
_FRACTION = r"^\s*-?[0-9]*\.[0-9]+\s*$"
_FEW = 0.05
"""A share of other text, such as the line of a sum, up to which a column still holds numbers."""
_WORDS = pa.array(sorted(NULL_WORDS), pa.string())


@dataclass(slots=True)
class _Seen:
    pointed: int = 0
    other: int = 0
    fraction: bool = False

    @property
    def floats(self) -> bool:
        few = self.other <= _FEW * (self.pointed + self.other)
        return bool(self.pointed) and few and not self.fraction


class Ids:
    """Columns of ids, looked at batch by batch.

    Tools write numbers beside a missing value with a point and a zero.  Whole numbers without one
    may stand in the same column, since another part of the same table may lack no value.
    """

    def __init__(self, columns: Iterable[str]) -> None:
        self._seen = {column: _Seen() for column in columns}

    def see(self, batch: pa.Table | pa.RecordBatch) -> None:
        """Look at further rows."""
        for column, seen in self._seen.items():
            if not seen.fraction:
                _look(seen, batch[column].drop_null())

    def without_points(self, rows: ir.Table) -> ir.Table:
        """Write 17850.0 as 17850 where a column holds such numbers."""
        changed = {}
        for column, seen in self._seen.items():
            if seen.floats:
                text = rows[column]
                bare = text.re_replace(r"\.0+\s*$", "")
                changed[column] = ibis.ifelse(text.re_search(_POINTED), bare, text)
        return rows.mutate(**changed)


def _look(seen: _Seen, text: pa.Array) -> None:
    pointed, whole, fraction = (
        pc.match_substring_regex(text, one) for one in (_POINTED, _WHOLE, _FRACTION)
    )
    words = pc.is_in(pc.utf8_trim_whitespace(text), value_set=_WORDS)
    seen.pointed += _count(pointed)
    seen.other += len(text) - _count(pc.or_(pc.or_(pointed, whole), words))
    seen.fraction = _count(fraction) > _count(pc.and_(fraction, pointed))


def _count(mask: pa.Array) -> int:
    return int(pc.sum(mask).as_py() or 0)
