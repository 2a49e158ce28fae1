"""How the values of a column are written, guessed from a sample: the options that read them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from tessera.contracts.columns import Column
from tessera.contracts.tables import ACTIONS as OUR_ACTIONS
from tessera.stages.ingest import lists, moments, numbers
from tessera.stages.ingest.vocabulary import ACTIONS, RISKS, named

SHOWN = 300
"""Values that a guess looks at."""
_ACTIONS_AT_MOST = 20
_FRACTION = re.compile(r"^[+-]?[0-9]*[.,][0-9]*[1-9]$")
_RISK_SCALES = {
    4: {"1": 1, "2": 2, "3": 3, "4": 4},
    5: {"1": 1, "2": 2, "3": 3, "4": 4, "5": 4},
    7: {"1": 1, "2": 1, "3": 2, "4": 2, "5": 3, "6": 4, "7": 4},
}  # fmt: skip
"""Top of a bank's scale -> its classes in ours."""


def how_written(column: Column, values: list[str], kind: str) -> tuple[dict[str, Any], str]:
    """Return the options that read these values, and what else they may mean."""
    typed = kind.startswith(("timestamp", "date", "list", "large_list"))
    if typed or column.name == "position":
        return {}, ""
    guarded = [value for value in values if value.startswith("'") and not value.endswith("'")]
    guard = {"guard": "'"} if len(guarded) * 2 > len(values) else {}
    bare = [value.removeprefix("'") for value in values] if guard else values
    read = _HOW.get("action" if column.name == "action" else column.dtype, _as_it_is)
    how, doubt = read(bare)
    return how | guard, doubt


def _as_it_is(_: list[str]) -> tuple[dict[str, Any], str]:
    return {}, ""


def _how_listed(values: list[str]) -> tuple[dict[str, Any], str]:
    return {"list": lists.how_written(values)}, ""


def _how_timed(values: list[str]) -> tuple[dict[str, Any], str]:
    iso = [value for value in values if moments.is_iso(value)]
    if len(iso) >= 0.9 * len(values):
        bare = any(
            len(value) > 10 and not re.search("(Z|[+-][0-9:]{2,6})$", value[11:]) for value in iso
        )
        return {}, _NO_ZONE if bare else ""
    if formats := moments.formats_of(values):
        doubts = [f"or '{one}'" for one in formats[1:]]
        if moments.has_clock(formats[0]) and "UTC" not in formats[0] and "%z" not in formats[0]:
            doubts.append(_NO_ZONE)
        return {"format": formats[0]}, "; ".join(doubts)
    units = moments.units_of(values) or [moments.DAYS] * moments.are_days(values)
    if units == [moments.DAYS]:
        return {"unit": moments.DAYS}, "days as spreadsheets count; " + _NO_ZONE
    return (
        ({"unit": units[0]}, "") if units else ({"unit": "s"}, "it counts from no date: or ms, us")
    )


_NO_ZONE = "zone: UTC is taken; say Europe/Berlin or so if the clock stood there"


def _how_counted(values: list[str]) -> tuple[dict[str, Any], str]:
    signs, values = _without_signs(values)
    how, doubt = _how_marked(values)
    if "currency" in signs:
        told = f"in {signs['currency'][0]}: nothing is converted"
        doubt = "; ".join(filter(None, [doubt, told]))
    return how | signs, doubt


def _how_marked(values: list[str]) -> tuple[dict[str, Any], str]:
    ways = numbers.fitting(values)
    if not ways:
        return {}, "numbers in several marks"
    first = ways[0]
    how = {"decimal": first.decimal, "thousands": first.thousands}
    evidence = numbers.Evidence()
    evidence.see(pa.array(values, pa.string()))
    if first == numbers.Marks() and evidence.doubt() is None:
        return {}, ""
    others = [f"or decimal: '{way.decimal}', thousands: {way.thousands!r}" for way in ways[1:]]
    if first == numbers.Marks() and not others:
        others = ["or thousands: '.'"]
    return {name: mark for name, mark in how.items() if mark}, "; ".join(others)


def _how_risky(values: list[str]) -> tuple[dict[str, Any], str]:
    classes = _risk_values(values) or {}
    if all(theirs == str(ours) for theirs, ours in classes.items()):
        return {}, ""
    missed = [value for value in values if value.removesuffix(".0") not in classes]
    doubt = "whether these are our classes: 1 conservative, 2 income, 3 balanced, 4 aggressive"
    return {"values": classes}, doubt + (
        f"; no class for {', '.join(missed[:5])}" if missed else ""
    )


def _risk_values(values: list[str]) -> dict[str, int] | None:
    """Map the classes of a bank to ours, if they are classes."""
    bare = {value.removesuffix(".0") for value in values}
    for top, scale in _RISK_SCALES.items():
        if bare <= set(scale):
            return scale if top > 4 else {one: scale[one] for one in sorted(bare)}
    words = {value: found for value in values if (found := named(value, RISKS))}
    if len(words) < 0.6 * len(values) or len(values) > 20:
        return None
    return {value: int(found) for value, found in words.items()}


def _how_acted(values: list[str]) -> tuple[dict[str, Any], str]:
    if set(values) <= set(OUR_ACTIONS):
        return {}, ""
    known = {value: found for value in values if (found := named(value, ACTIONS))}
    missed = [value for value in values if value not in known]
    doubt = f"no action of ours for {', '.join(missed[:5])}: set aside" if missed else ""
    return {"values": known}, doubt


_HOW: dict[str, Callable[[list[str]], tuple[dict[str, Any], str]]] = {
    "timestamp": _how_timed,
    "float64": _how_counted,
    "int64": _how_risky,
    "strings": _how_listed,
    "floats": _how_listed,
    "action": _how_acted,
}


def _without_signs(values: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Leave percent, currency and the odd minus away, as the reader does, and say by which."""
    text, signs = pa.array(values, pa.string()), dict[str, Any]()
    if len(hundredths := numbers.in_hundredths(text).drop_null()) * 2 > len(values):
        text, signs["percent"] = hundredths, True
    currency = [one for one in numbers.currencies(values) if one not in numbers.EURO]
    if currency:
        signs["currency"] = currency
    return signs, numbers.plainly_signed(text, currency or numbers.EURO).to_pylist()


def fits(kind: str, values: list[str]) -> bool:
    """Whether the first distinct values can be of a kind."""
    head = list(dict.fromkeys(values[:5_000]))[:SHOWN]
    return bool(head) and bool(_FITS[kind](head)) if kind in _FITS else True


def may_be_times(values: list[str]) -> bool:
    """Whether any value can be a moment."""
    iso = any(map(moments.is_iso, values))
    return iso or bool(moments.formats_of(values)) or _all_numbers(values)


def _may_be_lists(values: list[str]) -> bool:
    return any(mark in values[0] for mark in "[|;, {")


def _all_numbers(values: list[str]) -> bool:
    found = [
        value
        for value in _without_signs(values)[1]
        if re.match(r"^[+-]?[0-9.,'\u2019 ]*[0-9]([eE][+-]?[0-9]+)?$", value)
    ]
    return len(found) >= 0.9 * len(values)


_FITS: dict[str, Callable[[list[str]], object]] = {
    "timestamp": may_be_times,
    "float64": _all_numbers,
    "int64": _risk_values,
    "strings": _may_be_lists,
    "floats": _may_be_lists,
    "position": _all_numbers,
    "action": lambda values: len(values) <= _ACTIONS_AT_MOST,
    "id": lambda values: not all(_FRACTION.match(value) for value in values),
}
