"""How one column of a stranger's file is written, and what of it is refused before any file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tessera.contracts.columns import Column, Table
from tessera.contracts.params import STRICT
from tessera.contracts.tables import TABLES

NULL_WORDS = frozenset(
    {"NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NaT", "NULL", "Null", "null"}
    | {"None", "none", "\\N", "-", "--"}
)
"""Whole values that count as missing, but in names and descriptions."""
MARKS = (".", ",", " ", "'", "_")
"""What may stand between the thousands of a number; the first two, before its decimals."""
LISTS = ("json", "python")
"""Named ways to write a list; any other text is what stands between two values."""
ALWAYS = "1970-01-01"
"""Since when a row holds that says nothing of it, and the earliest that a beginning can be."""

_DEFAULTED = {
    "events": ("event_id", "time_kind"),
    "queries": ("query_id",),
    "users": ("valid_from",),
    "items": ("name",),
    "exposures": ("request_id",),
    "outcomes": ("request_id",),
}
"""Columns that must not be missing and are known without the file saying them."""
EVENLY = ("propensity", "candidate_ids", "candidate_propensities")
"""Columns that are known if what is shown is drawn evenly from all items."""
_OPTIONS = {
    "string": ("nulls", "values", "unknown", "otherwise", "strip", "guard"),
    "int64": ("decimal", "thousands"),
    "float64": ("decimal", "thousands", "currency", "percent"),
    "timestamp": ("format", "unit", "zone"),
    "strings": ("list_", "nulls", "strip"),
    "floats": ("list_", "nulls", "strip", "decimal"),
}
"""Options of a column by its type; those of text hold for numbers and times too."""


class ColumnMapping(BaseModel):
    """Where one column comes from and how its values are written."""

    model_config = STRICT | ConfigDict(populate_by_name=True)

    from_: str = Field(alias="from", min_length=1)
    """Column of the file."""
    nulls: tuple[str, ...] | None = None
    """Whole values that mean missing, besides the well-known ones (NA, NaN, null, None, \\N, -);
    [] = none but empty text."""
    decimal: str | None = None
    """Before the decimals of a number: `.` or `,`."""
    thousands: str | None = None
    """Between the thousands of a number: `.`, `,`, a blank, `'` or `_`."""
    currency: tuple[str, ...] | None = None
    """What may stand before or behind a number, such as CHF: the spellings of one currency, since
    it is taken away and nothing is converted."""
    percent: bool = False
    """Whether the numbers are percentages: `12.5%` is 0.125, and one without its sign is set
    aside."""
    format: tuple[str, ...] | None = None
    """Of a time, as in `%d.%m.%Y %H:%M`, or several of them; null = ISO 8601."""
    unit: str | None = None
    """Of a time that counts from 1970: s, ms, us or ns; excel = days as spreadsheets count."""
    zone: str | None = None
    """Where the clock of a time stood that names no zone, such as Europe/Rome; null = UTC."""
    open_end: tuple[str, ...] | None = None
    """Values of `valid_to` that mean no end, besides whatever lies in 2100 or later."""
    values: dict[str, str | None] | None = None
    """Theirs -> ours, such as {BUY: buy}; null = missing; a value without an entry is set aside."""
    otherwise: str | None = None
    """What a value without an entry in `values` becomes."""
    unknown: str | None = None
    """What a missing value becomes."""
    list_: str | None = Field(None, alias="list")
    """How a list is written as text: json, python, or what stands between two values."""
    strip: bool = True
    """Whether blanks around a value are no part of it."""
    guard: str | None = Field(None, min_length=1)
    """What a spreadsheet put before a value to keep it as text, such as `'` in `'007`; it is taken
    away where it stands."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"from": value} if isinstance(value, str) else value

    @field_validator("nulls", "format", "open_end", "currency", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return words(value)

    @field_validator("values", mode="before")
    @classmethod
    def _words_to_words(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {word(key): None if ours is None else word(ours) for key, ours in value.items()}

    @field_validator("otherwise", "unknown", mode="before")
    @classmethod
    def _a_word(cls, value: object) -> object:
        return None if value is None else word(value)

    @model_validator(mode="after")
    def _can_be_meant(self) -> ColumnMapping:
        check_numbers(self.decimal, self.thousands)
        check_currency(self.currency or ())
        check_zone(self.zone)
        if self.unit not in (None, "s", "ms", "us", "ns", "excel"):
            raise ValueError(f"unit is one of s, ms, us, ns, excel, not {self.unit!r}")
        if self.unit and self.format:
            raise ValueError("a time has a unit or a format, not both")
        if self.otherwise is not None and self.values is None:
            raise ValueError("otherwise needs values: it is for what they do not name")
        for one in self.format or ():
            _check_format(one)
        return self


def word(value: object) -> str:
    """Return a scalar of YAML as the text that stands in a file.

    Raises
    ------
    ValueError
        If YAML made a truth value of a word such as NO.

    >>> word(3), word(date(2020, 1, 2))
    ('3', '2020-01-02')
    """
    if isinstance(value, bool):
        raise ValueError(f"YAML reads yes, no, on and off as {value}: put the word in quotes")
    if isinstance(value, date | datetime):
        return value.isoformat()
    return "null" if value is None else str(value)


def words(value: object) -> object:
    """Return one scalar or a list of them as a tuple of texts; whatever else as it is."""
    if value is None or isinstance(value, dict):
        return value
    several = value if isinstance(value, list | tuple) else [value]
    return tuple(word(one) for one in several)


def check_numbers(decimal: str | None, thousands: str | None) -> None:
    """Refuse marks that no number has.

    Raises
    ------
    ValueError
        Naming the mark.
    """
    if decimal not in (None, *MARKS[:2]):
        raise ValueError(f"decimal is '.' or ',', not {decimal!r}")
    if thousands not in (None, *MARKS):
        raise ValueError(f"thousands is one of {', '.join(map(repr, MARKS))}, not {thousands!r}")
    if thousands and thousands == decimal:
        raise ValueError(f"decimal and thousands cannot both be {decimal!r}")


def check_currency(spellings: Iterable[str]) -> None:
    """Refuse what cannot be told from the number beside it.

    Raises
    ------
    ValueError
        Naming the spelling.
    """
    for one in spellings:
        if not one.strip(" .,'_") or any(letter in "0123456789+-()%" for letter in one):
            raise ValueError(f"currency {one!r} is no name or sign of one, such as CHF")


def check_zone(zone: str | None) -> None:
    """Refuse a time zone that nobody knows.

    Raises
    ------
    ValueError
        With the nearest name.
    """
    if zone is None:
        return
    try:
        ZoneInfo(zone)
    except (OSError, ValueError, KeyError) as error:
        known = sorted(available_timezones())
        raise ValueError(f"no time zone {zone!r}{meant(zone, known, listed=False)}") from error


def _check_format(text: str) -> None:
    moment = datetime(2021, 11, 23, 17, 45, 6)
    try:
        if datetime.strptime(moment.strftime(text), text).year != moment.year:
            raise ValueError("it names no year")
    except ValueError as error:
        raise ValueError(
            f"format {text!r} reads no date ({error}): write it like %d.%m.%Y %H:%M"
        ) from error


def meant(name: str, known: Iterable[str], *, listed: bool = True) -> str:
    """Say which known name is nearest, or list them.

    >>> meant("amount", ["units", "amount_eur"])
    ", did you mean 'amount_eur'?"
    """
    names = list(known)
    folded = {other.casefold(): other for other in reversed(names)}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    if close:
        return f", did you mean {folded[close[0]]!r}?"
    return f"; known: {', '.join(names)}" if listed else ""


def check_table(
    table: str,
    columns: Mapping[str, ColumnMapping],
    constants: Mapping[str, str],
    known: Collection[str] = (),
) -> None:
    """Hold the mapping of one table against its contract; `known` columns may be missing.

    Raises
    ------
    ValueError
        On an unknown or missing column, an option that does not fit it, a constant that breaks it.
    """
    contract = TABLES[table]
    place = f"mapping.{table}"
    for kind, names in (("columns", columns), ("constants", constants)):
        for name in names:
            if name not in contract.names:
                raise ValueError(f"unknown {place}.{kind}.{name}{meant(name, contract.names)}")
    if twice := sorted(set(columns) & set(constants)):
        raise ValueError(f"{place}: {', '.join(twice)} in columns and in constants: choose one")
    _check_complete(contract, {*columns, *constants, *known}, place)
    by_name = {column.name: column for column in contract.columns}
    for name, mapping in columns.items():
        _check_column(by_name[name], mapping, f"{place}.columns.{name}")
    for name, text in constants.items():
        check_value(by_name[name], text, f"{place}.constants.{name}")


def _check_complete(contract: Table, given: set[str], place: str) -> None:
    needed = [column.name for column in contract.columns if not column.nullable]
    known = _DEFAULTED.get(contract.name, ())
    missing = [name for name in needed if name not in given and name not in known]
    if missing:
        raise ValueError(
            f"{place} lacks {', '.join(missing)}: name the column of the file, or a constant"
        )


def _check_column(column: Column, mapping: ColumnMapping, place: str) -> None:
    fitting = {"from_", *_OPTIONS.get(column.dtype, ())}
    if column.dtype in ("int64", "float64", "timestamp"):
        fitting |= {*_OPTIONS["string"]}
    if column.name == "valid_to":
        fitting.add("open_end")
    for name in mapping.model_fields_set - fitting:
        raise ValueError(
            f"{place}: {name.rstrip('_')} does not fit, it holds {HOLDS[column.dtype]}"
        )
    ours = [*(mapping.values or {}).values(), mapping.otherwise, mapping.unknown]
    for text in ours:
        if text is not None:
            check_value(column, text, place)


HOLDS = {
    "string": "text",
    "int64": "whole numbers",
    "float64": "numbers",
    "timestamp": "times",
    "strings": "lists of text",
    "floats": "lists of numbers",
}


def check_value(column: Column, text: str, place: str) -> None:
    """Hold a text that a person wrote for a column against the column's contract.

    Raises
    ------
    ValueError
        Naming what it should be.
    """
    problem = _problem(column, text)
    if problem:
        raise ValueError(f"{place}: {text!r} is {problem}")


def _problem(column: Column, text: str) -> str | None:
    if column.allowed is not None and text not in column.allowed:
        return f"not one of {', '.join(column.allowed)}{meant(text, column.allowed, listed=False)}"
    read, wrong = _READ.get(column.dtype, _NO_LIST)
    try:
        return _out_of_bounds(column, read(text))
    except ValueError:
        return wrong


def _some_text(text: str) -> None:
    if not text.strip():
        raise ValueError


def _no_list(_: str) -> None:
    raise ValueError


_NO_LIST = (_no_list, "no list: name a column of the file")
_READ: dict[str, tuple[Callable[[str], Any], str]] = {
    "string": (_some_text, "empty"),
    "int64": (int, "no whole number"),
    "float64": (float, "no number"),
    "timestamp": (datetime.fromisoformat, "no ISO date"),
}


def _out_of_bounds(column: Column, value: Any) -> str | None:
    """Say which bound a value breaks; text and times have none."""
    if column.positive and not value > 0:
        return "not above 0"
    if column.floor is not None and not value >= column.floor:
        return f"below {column.floor:g}"
    if column.ceiling is not None and not value <= column.ceiling:
        return f"above {column.ceiling:g}"
    return None
