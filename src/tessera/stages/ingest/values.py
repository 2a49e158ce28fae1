"""One column of text on its way from a file to its contract."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tessera.contracts.columns import Column
from tessera.contracts.errors import BadInput
from tessera.stages.ingest.casts import wrong_type
from tessera.stages.ingest.columns import HOLDS, NULL_WORDS, ColumnMapping
from tessera.stages.ingest.tidy import tidied, tidied_column

_LOG = logging.getLogger(__name__)
_PROSE = ("name", "text")
"""Columns in which `None` may be a word."""
FEW = 0.05
"""A share of values of another convention up to which they are single mistakes."""
_ROUNDED = "^[+-]?[0-9][.,][0-9]+[eE][+]?[0-9]{1,2}$"
_LOST_DIGITS = "a rounded number, not an id"
"""Spreadsheets and floats write long ids as 1.78501E+11, the same for many of them."""
Doubt = tuple[str, str] | None
"""A value that cannot be told, and the params that settle it."""


@dataclass(frozen=True, slots=True)
class Read:
    """One batch of a column."""

    value: pa.Array
    """In the type of the contract, or text that the engine reads as such."""
    text: pa.Array | None = None
    """What the source wrote, if that is not `value`."""
    fault: pa.Array | None = None
    """What is wrong with a value that could not be read."""


@dataclass(slots=True)
class Reader:
    """Reads one column batch by batch and remembers what it saw."""

    file: str
    place: str
    """Where in the params its options are."""
    column: Column
    how: ColumnMapping
    null_words: frozenset[str] = NULL_WORDS
    given: int = 0
    odd: int = 0
    """Values that are not written in the way they are read."""
    samples: list[str] = field(default_factory=list)
    missing: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        known = frozenset[str]() if self.column.name in _PROSE else self.null_words
        said = self.how.nulls
        self.null_words = frozenset() if said == () else known | frozenset(said or ())

    def read(self, array: pa.Array) -> Read:
        """Read one batch, which holds text or a type of its own."""
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        flat = not pa.types.is_nested(array.type) and not pa.types.is_binary(array.type)
        if is_text(array.type) or (flat and self._wants_text(array.type)):
            return self._from_text(self._as_text(array))
        return self._typed(array)

    def _wants_text(self, _: pa.DataType) -> bool:
        return self.how.values is not None or self.how.unknown is not None

    def _as_text(self, array: pa.Array) -> pa.Array:
        return array.cast(pa.string())

    def _typed(self, array: pa.Array) -> Read:
        if not (pa.types.is_null(array.type) or self._may_hold(array.type)):
            should = f"should hold {HOLDS[self.column.dtype]}"
            raise wrong_type(self.file, self.how.from_, array.type, should)
        return self._of_its_type(array)

    def _may_hold(self, kind: pa.DataType) -> bool:
        return not pa.types.is_nested(kind)

    def _of_its_type(self, array: pa.Array) -> Read:
        return Read(array)

    def _from_text(self, raw: pa.Array) -> Read:
        text = self._tidied(raw)
        self.given += len(text) - text.null_count
        named, unnamed = self._named(text)
        value, unread = self._understood(named)
        read = Read(value, fault=pc.coalesce(unnamed, unread))
        return replace(read, text=self._shown(raw, text, read))

    def _shown(self, raw: pa.Array, text: pa.Array, read: Read) -> pa.Array:  # noqa: ARG002
        """Keep what was read or failed to be; what counts as missing was not given."""
        return where(pc.or_(pc.is_valid(read.value), pc.is_valid(read.fault)), text)

    def _tidied(self, raw: pa.Array) -> pa.Array:
        text = tidied_column(raw, strip=self.how.strip)
        if self.how.guard:
            text = pc.replace_substring_regex(text, f"^{re.escape(self.how.guard)}", "")
        words = pc.is_in(text, value_set=pa.array(sorted(self.null_words), pa.string()))
        for found in text.filter(words).value_counts().to_pylist():
            self.missing[found["values"]] += found["counts"]
        return where(pc.invert(pc.or_(words, pc.fill_null(pc.equal(text, ""), True))), text)

    def _tidy(self, text: str) -> str | None:
        """Tidy one id inside a list."""
        found = tidied(text)
        return None if found in self.null_words else found or None

    def _named(self, text: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Replace values by the bank's names, and what is missing by what it stands for."""
        otherwise = self.how.otherwise
        named, unnamed = text, pa.nulls(len(text), pa.string())
        if self.how.values is not None:
            strip = self.how.strip
            names = {tidied(one, strip=strip): ours for one, ours in self.how.values.items()}

            def look_up(value: str) -> tuple[str | None, str | None]:
                for key in (value, value.removesuffix(".0")):
                    if key in names:
                        return names[key], None
                return otherwise, None if otherwise is not None else "no entry of `values`"

            named, unnamed = self._by_value(text, look_up, pa.string())
        if self.how.unknown is not None:
            gone = pc.and_(pc.is_null(named), pc.is_null(unnamed))
            named = pc.if_else(gone, self.how.unknown, named)
        return named, unnamed

    def _by_value(
        self, text: pa.Array, read: Callable[[str], tuple[Any, str | None]], kind: pa.DataType
    ) -> tuple[pa.Array, pa.Array]:
        """Read every different text once."""
        coded = text.dictionary_encode()
        found = [read(value) for value in coded.dictionary.to_pylist()]
        faults = [fault and f"{self.column.name}: {fault}" for _, fault in found]
        values = pa.array([value for value, _ in found], kind)
        return values.take(coded.indices), pa.array(faults, pa.string()).take(coded.indices)

    def _understood(self, text: pa.Array) -> tuple[pa.Array, pa.Array]:
        raise NotImplementedError

    def doubt(self) -> Doubt:
        """Say what this column shows of another convention than the one it was read by."""
        return None

    def finish(self) -> None:
        """Refuse a column that cannot be told; say what counted as missing.

        Raises
        ------
        BadInput
            Naming the file, the column, a value and the param that settles it.
        """
        if doubt := self.doubt():
            raise BadInput(
                f"{self.file}: column {self.how.from_} holds {doubt[0]!r}: "
                f"say {doubt[1]} in {self.place}"
            )
        if self.missing:
            word, _ = self.missing.most_common(1)[0]
            count, column = self.missing.total(), self.how.from_
            _LOG.warning(
                "%s: column %s: %d values such as %r count as missing",
                self.file,
                column,
                count,
                word,
            )


class TextReader(Reader):
    """Reads ids, names and categories."""

    def _understood(self, text: pa.Array) -> tuple[pa.Array, pa.Array]:
        none = pa.nulls(len(text), pa.string())
        if not self.column.name.endswith("_id") or self.how.values is not None:
            return text, none
        rounded = pc.match_substring_regex(text, _ROUNDED)
        return text, pc.if_else(rounded, f"{self.column.name}: {_LOST_DIGITS}", none)

    def _shown(self, raw: pa.Array, text: pa.Array, read: Read) -> pa.Array:  # noqa: ARG002
        return where(pc.invert(pc.fill_null(pc.equal(raw, read.value), False)), raw)


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a column of this type is text."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_number(kind: pa.DataType) -> bool:
    """Tell whether a column of this type holds numbers."""
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def where(mask: pa.Array, array: pa.Array) -> pa.Array:
    """Keep the values that are marked."""
    return pc.if_else(mask, array, pa.scalar(None, array.type))
