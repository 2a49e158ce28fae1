"""Lists that a text file holds as one value: JSON, printed Python, or values between marks."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Collection
from typing import Any

from tessera.stages.ingest.numbers import Marks

Values = list[str] | list[float]
Reading = tuple[Values | None, str | None]
"""A list, or what is wrong with the text."""

_BRACKETS = {"[": "]", "{": "}", "(": ")"}
_BETWEEN = ("|", ";", ",", "/", " ")


def reader(
    how: str, tidy: Callable[[str], str | None], marks: Marks | None
) -> Callable[[str], Reading]:
    """Make the function that reads one text.

    Parameters
    ----------
    how : str
        `json`, `python`, or what stands between two values.
    tidy : Callable
        Makes an id of a text; None is no id.
    marks : Marks, optional
        Of the numbers, if the list holds numbers.
    """

    def read(text: str) -> Reading:
        try:
            cells = _cells(text, how)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None, f"no list ({how})"
        return _numbers(cells, marks) if marks else _ids(cells, tidy)

    return read


def _cells(text: str, how: str) -> list[Any]:
    if how in ("json", "python"):
        found = json.loads(text) if how == "json" else ast.literal_eval(text)
        if not isinstance(found, list | tuple):
            raise ValueError(text)
        return list(found)
    inner = text.strip()
    if inner[:1] in _BRACKETS and inner[-1:] == _BRACKETS[inner[0]]:
        inner = inner[1:-1].strip()
    if not inner:
        return []
    return inner.split() if how == " " else [cell.strip() for cell in inner.split(how)]


def _ids(cells: list[Any], tidy: Callable[[str], str | None]) -> Reading:
    found: list[str] = []
    for cell in cells:
        known = isinstance(cell, str) or (isinstance(cell, int) and not isinstance(cell, bool))
        one = tidy(str(cell)) if known else None
        if not one:
            return None, "a list with a value that is no id"
        found.append(one)
    return found, None


def _numbers(cells: list[Any], marks: Marks) -> Reading:
    found = [_number(cell, marks) for cell in cells]
    if any(value is None or not math.isfinite(value) for value in found):
        return None, "a list with a value that is no number"
    return [value for value in found if value is not None], None


def _number(cell: object, marks: Marks) -> float | None:
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return float(cell)
    if not isinstance(cell, str) or not re.match(marks.shape, cell):
        return None
    whole = cell.replace(marks.thousands, "") if marks.thousands else cell
    return float(whole.replace(marks.decimal, "."))


def suggestion(values: Collection[str]) -> str:
    """Say how these lists are written.

    >>> suggestion(["i1|i2"]), suggestion(['["i1", "i2"]']), suggestion(["['i1']"])
    ("list: '|'", 'list: json', 'list: python')
    """
    how = how_written(values)
    if how is None:
        return "list: json, or what stands between two values"
    return f"list: {how if how.isalpha() else repr(how)}"


def how_written(values: Collection[str]) -> str | None:
    """Return the way of `list` that reads these values, or None."""
    for how in ("json", "python"):
        if all(_is(value, how) for value in values):
            return how
    inner = [value.strip().strip("[](){}") for value in values]
    return next((mark for mark in _BETWEEN if any(mark in value for value in inner)), None)


def _is(text: str, how: str) -> bool:
    try:
        return isinstance(_cells(text, how), list)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False
