"""Columns that are more than text: numbers, times and lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tessera.contracts.columns import Column
from tessera.contracts.rules import EARLIEST, LATEST, SHAPE
from tessera.stages.ingest import clocks, lists, moments, numbers
from tessera.stages.ingest.columns import NULL_WORDS
from tessera.stages.ingest.numbers import Evidence, Marks, Signs, more
from tessera.stages.ingest.params import TableMapping
from tessera.stages.ingest.values import (
    FEW,
    Doubt,
    Read,
    Reader,
    TextReader,
    is_number,
    is_text,
    where,
)

_TICK = timedelta(microseconds=1)
_LISTS = {"strings": pa.list_(pa.string()), "floats": pa.list_(pa.float64())}
_ZERO_DATES = {"0000-00-00", "0000-00-00 00:00:00"}
"""How MySQL writes a missing date."""


def reader_of(table: str, column: Column, mapping: TableMapping) -> Reader:
    """Make the reader of one column; its table says what the column does not."""
    how = mapping.columns[column.name]
    inherited: dict[str, Any] = {}
    if how.nulls is None:
        inherited["nulls"] = mapping.nulls
    if how.decimal is None and how.thousands is None:
        inherited |= {"decimal": mapping.decimal, "thousands": mapping.thousands}
    if how.zone is None:
        inherited["zone"] = mapping.zone
    place = f"ingest.mapping.{table}.columns.{column.name}"
    kind = _KINDS.get(column.dtype, TextReader)
    words = NULL_WORDS | (_ZERO_DATES if column.dtype == "timestamp" else set())
    return kind(_named(mapping.file), place, column, how.model_copy(update=inherited), words)


def _named(file: str | list[str]) -> str:
    return file if isinstance(file, str) else ", ".join(file)


@dataclass(slots=True)
class NumberReader(Reader):
    """Reads numbers; without marks that a person said, a column that shows others is in doubt."""

    evidence: Evidence = field(default_factory=Evidence)
    signs: Signs = field(init=False)

    def __post_init__(self) -> None:
        Reader.__post_init__(self)
        self.signs = Signs(self.column.name)

    def _wants_text(self, kind: pa.DataType) -> bool:
        return (self.how.percent and is_number(kind)) or Reader._wants_text(self, kind)

    def _may_hold(self, kind: pa.DataType) -> bool:
        return is_number(kind)

    def _understood(self, text: pa.Array) -> tuple[pa.Array, pa.Array]:
        bare = numbers.in_hundredths(text) if self.how.percent else text
        euros = numbers.EURO if self.column.name.endswith("_eur") else ()
        bare = numbers.plainly_signed(bare, self.how.currency or euros)
        signed = self.signs.see(bare) if self.column.dtype == "float64" else None
        read, fault = self._in_marks(bare)
        if self.how.percent:
            read = numbers.hundredth(read)
            unsigned = pc.and_(pc.is_null(bare), pc.is_valid(text))
            said = f"{self.column.name}: no percentage, as `percent` says"
            fault = pc.coalesce(where(unsigned, pa.repeat(said, len(text))), fault)
        return read, fault if signed is None else pc.coalesce(signed, fault)

    def _in_marks(self, text: pa.Array) -> tuple[pa.Array, pa.Array]:
        if self.how.decimal is None and self.how.thousands is None:
            self.evidence.see(text)
            return text, pa.nulls(len(text), pa.string())
        read = numbers.read(text, Marks.of(self.how.decimal, self.how.thousands))
        lost = pc.and_(pc.is_null(read), pc.is_valid(text))
        strange = text.filter(pc.and_(lost, numbers.alike(text)))
        self.odd += len(strange)
        self.samples = more(self.samples, strange)
        said = f"{self.column.name}: not {SHAPE[self.column.dtype][1]}"
        return read, where(lost, pa.repeat(said, len(text)))

    def doubt(self) -> Doubt:
        """Doubt marks that are not the ones the numbers are read by, and signs beside them."""
        said = [option for option in ("currency", "percent") if getattr(self.how, option)]
        if doubt := self.signs.doubt(self.given, said):
            return doubt
        if self.odd > FEW * self.given and numbers.fitting(self.samples):
            return max(self.samples), numbers.suggestion(self.samples)
        return self.evidence.doubt()


class TimeReader(Reader):
    """Reads times; what is no ISO date must be described."""

    def _wants_text(self, kind: pa.DataType) -> bool:
        naive = pa.types.is_timestamp(kind) and kind.tz is None
        counted = self.how.unit is not None and is_number(kind)
        return counted or (naive and self.how.zone is not None) or Reader._wants_text(self, kind)

    def _as_text(self, array: pa.Array) -> pa.Array:
        if pa.types.is_timestamp(array.type):
            return pc.strftime(array.cast(pa.timestamp("us"), safe=False), "%Y-%m-%dT%H:%M:%S")
        return array.cast(pa.string())

    def _understood(self, text: pa.Array) -> tuple[pa.Array, pa.Array]:
        how = self.how
        if how.unit:
            self.samples = more(self.samples, text.drop_null())
        elif not how.format:
            text = pc.replace_substring_regex(text, moments.COMMA, r"\1.\2")
            iso = pc.match_substring_regex(text, SHAPE["timestamp"][0])
            self._notice(text.filter(pc.invert(iso)))
        if how.format or how.unit or how.zone or self.column.name in _BOUNDS:
            return self._moments(text)
        return text, pa.nulls(len(text), pa.string())

    def _moments(self, text: pa.Array) -> tuple[pa.Array, pa.Array]:
        how, rest = self.how, text
        plain = pa.nulls(len(text), clocks.TIME)
        if self.column.name not in _BOUNDS:
            plain = clocks.read(text, how.format, how.unit, how.zone)
            rest = where(pc.is_null(plain), text)
        careful = self._within_bounds(moments.reader(how.format, how.unit, how.zone))

        def micros(one: str) -> tuple[int | None, str | None]:
            moment, fault = careful(one)
            return None if moment is None else (moment - EARLIEST) // _TICK, fault

        value, fault = self._by_value(rest, micros, pa.int64())
        if how.format:
            self._notice(rest.filter(pc.is_valid(fault)))
        return pc.coalesce(plain, value.cast(clocks.TIME)), fault

    def _doubted_order(self, formats: Sequence[str]) -> Doubt:
        """Doubt every date of a column in which not a few have day and month the other way."""
        other = moments.other_order(self.samples, formats) if self.odd > FEW * self.given else None
        told = f"format: '{formats[0]}' once the export is mended (this one reads '{other}')"
        return (min(self.samples), told) if other else None

    def _notice(self, strange: pa.Array) -> None:
        self.odd += len(strange)
        self.samples = more(self.samples, strange)

    def _within_bounds(
        self, read: Callable[[str], moments.Reading]
    ) -> Callable[[str], moments.Reading]:
        """Let the end of a validity be open, and its beginning."""
        ends, bound = self.how.open_end or (), _BOUNDS.get(self.column.name)

        def within(text: str) -> moments.Reading:
            moment, fault = (None, None) if text in ends else read(text)
            return (bound(moment) if bound and moment else moment), fault

        return within

    def _may_hold(self, kind: pa.DataType) -> bool:
        return is_number(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind)

    def _of_its_type(self, array: pa.Array) -> Read:
        if is_number(array.type):
            self._notice(array.cast(pa.string()).drop_null())
            self.given = self.odd
        timed = pa.types.is_timestamp(array.type) or pa.types.is_date(array.type)
        return Read(_bounded(self.column.name, array) if timed else array)

    def doubt(self) -> Doubt:
        """Doubt a unit that makes no dates, and times of a format that nobody said."""
        if not self.samples:
            return None
        if self.how.unit:
            other = moments.other_unit(self.samples, self.how.unit)
            return (min(self.samples), f"unit: {other}") if other else None
        if self.how.format:
            return self._doubted_order(self.how.format)
        said = moments.suggestion(self.samples) if self.odd > FEW * self.given else None
        if said and self.odd < self.given:
            said += " and, in a list with it, the format of the ISO dates beside them,"
        return (min(self.samples), said) if said else None


_BOUNDS: dict[str, Callable[[datetime], datetime | None]] = {
    "valid_from": lambda moment: max(moment, EARLIEST),
    "valid_to": lambda moment: moment if moment < LATEST else None,
}
"""A validity may begin before all times and may never end."""


def _bounded(name: str, array: pa.Array) -> pa.Array:
    """Do the same to times that a file holds as such."""
    if name not in _BOUNDS:
        return array
    zone = array.type.tz if pa.types.is_timestamp(array.type) else None
    kind = pa.timestamp("us", zone)
    micros = array.cast(kind, safe=False).cast(pa.int64())
    if name == "valid_to":
        return where(pc.less(micros, int(LATEST.timestamp()) * 1_000_000), micros).cast(kind)
    return pc.max_element_wise(micros, 0, skip_nulls=False).cast(kind)


@dataclass(slots=True)
class ListReader(Reader):
    """Reads lists; as text they must be described."""

    def _understood(self, text: pa.Array) -> tuple[pa.Array, pa.Array]:
        kind = _LISTS[self.column.dtype]
        if self.how.list_ is None:
            self.samples = more(self.samples, text.drop_null())
            return pa.nulls(len(text), kind), pa.nulls(len(text), pa.string())
        marks = Marks.of(self.how.decimal, None) if self.column.dtype == "floats" else None
        return self._by_value(text, lists.reader(self.how.list_, self._tidy, marks), kind)

    def _may_hold(self, kind: pa.DataType) -> bool:
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
            return False
        inner = kind.value_type
        fits = is_number(inner) if self.column.dtype == "floats" else is_text(inner)
        return fits or pa.types.is_null(inner)

    def _of_its_type(self, array: pa.Array) -> Read:
        if pa.types.is_null(array.type):
            return Read(array)
        flat = array.flatten()
        if is_text(flat.type) and self.column.dtype == "strings":
            flat = pa.array([one and self._tidy(one) for one in flat.to_pylist()], pa.string())
            array = _relisted(array, flat)
        gaps = pc.is_null(flat, nan_is_null=pa.types.is_floating(flat.type))
        rows = pc.list_parent_indices(array).filter(gaps).cast(pa.int64())
        broken = pc.is_in(pa.array(range(len(array)), pa.int64()), value_set=rows)
        said = pa.repeat(f"{self.column.name}: a list with a missing value", len(array))
        return Read(array, fault=where(broken, said))

    def doubt(self) -> Doubt:
        """Doubt every list that is text and undescribed."""
        return (min(self.samples), lists.suggestion(self.samples)) if self.samples else None


def _relisted(array: pa.Array, flat: pa.Array) -> pa.Array:
    """Put other values into the lists of an array."""
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array([0, *lengths.cumsum().tolist()], pa.int32())
    return pa.ListArray.from_arrays(offsets, flat, mask=pc.is_null(array))


_KINDS: dict[str, type[Reader]] = {
    "int64": NumberReader,
    "float64": NumberReader,
    "timestamp": TimeReader,
    "strings": ListReader,
    "floats": ListReader,
}
