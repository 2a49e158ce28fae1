"""Any Arrow type becomes one of a few; what could be read in two ways is refused by its value.

Ids are text, whole numbers or numbers without fraction; a point and a zero never reach an id.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from tessera.contracts.errors import BadInput

Role = Literal["id", "text", "whole", "any"]
"""What a column is for: an id, other text, whole numbers, or whatever its type says."""
_EXACT = 2.0**53
"""Whole numbers from here on share a float with others."""
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Years 1 to 9999; moments beyond are moved there, since no calendar writes them."""
_WIDE = pa.decimal128(38, 0)
_LARGEST = pa.scalar(2**63 - 1, pa.int64()).cast(_WIDE)
_TICKS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_SHOULD = {
    "id": "should hold ids, which are text or whole numbers",
    "text": "should hold text",
    "whole": "should hold whole numbers",
    "any": "should hold text, numbers, moments or lists of them",
}
_REMEDY = {
    "bool": "write it as 1 and 0",
    "list": "write one value a row, or map another column",
}
_Test = Callable[[pa.DataType], bool]


@dataclass(frozen=True, slots=True)
class Place:
    """Which column is read, for messages."""

    file: str
    column: str
    role: Role
    first_row: int = 0
    """Row of the first value; 0 inside lists."""

    def bad_type(self, found: pa.DataType) -> BadInput:
        """Say that a type cannot be read."""
        should = _SHOULD[self.role]
        return wrong_type(self.file, self.column, found, should)

    def bad_value(self, array: pa.Array, bad: pa.Array, told: str) -> BadInput:
        """Name the first bad value."""
        place = pc.index(bad.fill_null(False), True).as_py()
        row = f", row {self.first_row + place}" if self.first_row else ""
        shown = str(array[place].as_py())[:40]
        return BadInput(f"{self.file}{row}: column {self.column} holds {shown}: {told}")


def wrong_type(file: str, column: str, found: pa.DataType, should: str) -> BadInput:
    """Say that a column holds a type that it must not, and what to do."""
    kind = "bool" if pt.is_boolean(found) else "list" if _is_list(found) else ""
    remedy = _REMEDY.get(kind, "mend it")
    return BadInput(f"{file}: column {column} holds {found}, {should}: {remedy}")


def target(place: Place, found: pa.DataType) -> pa.DataType:
    """Tell what a type becomes.

    Raises
    ------
    BadInput
        If a column of this role cannot hold it.
    """
    inner = _held(found)
    if inner is not None:
        return target(place, inner)
    if _is_list(found):
        return pa.list_(target(place, found.value_type))
    kind = next((kind for kind, test in _KINDS.items() if test(found)), "")
    if kind not in _BECOMES[place.role]:
        raise place.bad_type(found)
    zoned = pt.is_timestamp(found) and found.tz is not None and place.role == "any"
    return pa.timestamp("us", "UTC") if zoned else _BECOMES[place.role][kind]


def _held(found: pa.DataType) -> pa.DataType | None:
    """Tell which type stands behind a dictionary or an extension."""
    if pt.is_dictionary(found):
        return found.value_type
    if isinstance(found, pa.BaseExtensionType):
        return pa.string() if _is_uuid(found) else found.storage_type
    return None


def cast(place: Place, array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Turn values into what `target` said.

    Raises
    ------
    BadInput
        Naming the first value that cannot be turned exactly.
    """
    if _held(array.type) is not None:
        return cast(place, _taken_out(array), wanted)
    if pt.is_null(array.type):
        return pa.nulls(len(array), wanted)
    if _is_list(array.type):
        return _list(place, array, wanted)
    return _moments(array, wanted) if pt.is_timestamp(wanted) else _CASTS[str(wanted)](place, array)


def _taken_out(array: pa.Array) -> pa.Array:
    if pt.is_dictionary(array.type):
        return array.dictionary_decode()
    if _is_uuid(array.type):
        texts = [None if value is None else str(value) for value in array.to_pylist()]
        return pa.array(texts, pa.string())
    return array.storage


def _list(place: Place, array: pa.Array, wanted: pa.DataType) -> pa.Array:
    plain = pa.concat_arrays([array.cast(pa.list_(array.type.value_type))])
    inside = Place(place.file, place.column, place.role)
    values = cast(inside, plain.values, wanted.value_type)
    return pa.ListArray.from_arrays(plain.offsets, values, wanted, mask=plain.is_null())


def _text(place: Place, array: pa.Array) -> pa.Array:
    if _is_binary(array.type):
        return _decoded(place, array)
    if not (pt.is_floating(array.type) or pt.is_decimal(array.type)):
        return array.cast(pa.string())
    whole = _is_whole(array)
    fraction = pc.invert(whole)
    if place.role == "id" and pc.any(fraction).as_py():
        raise place.bad_value(array, fraction, _SHOULD["id"])
    number = _without_nan(array)
    digits = pc.if_else(whole, number, None).cast(_WIDE).cast(pa.string())
    return pc.coalesce(digits, number.cast(pa.string()))


def _whole(place: Place, array: pa.Array) -> pa.Array:
    if pt.is_integer(array.type):
        bad = pc.greater(array.cast(_WIDE), _LARGEST)
    else:
        bad = pc.invert(_is_whole(array))
    if pc.any(bad).as_py():
        raise place.bad_value(array, bad, _SHOULD["whole"])
    return (array if pt.is_integer(array.type) else _without_nan(array)).cast(pa.int64())


def _is_whole(array: pa.Array) -> pa.Array:
    """Tell which numbers have no fraction and are exact; null where there is no number."""
    number = _without_nan(array)
    same = pc.equal(pc.floor(number), number)
    if pt.is_decimal(array.type):
        return same
    return pc.and_(same, pc.less(pc.abs(number), _EXACT))


def _without_nan(array: pa.Array) -> pa.Array:
    """Take NaN as missing, as pandas writes it."""
    if pt.is_decimal(array.type):
        return array
    number = array.cast(pa.float64(), safe=False)
    return pc.if_else(pc.is_nan(number), None, number)


def _decoded(place: Place, array: pa.Array) -> pa.Array:
    try:
        return array.cast(pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        bad = pa.array([not _is_utf8(value) for value in array.to_pylist()])
        raise place.bad_value(array, bad, "its bytes are not UTF-8: write it as text") from None


def _is_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _moments(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Count in microseconds; nanoseconds are rounded to the nearest, halves up."""
    if pt.is_date(array.type):
        array = array.cast(pa.timestamp("s" if pt.is_date32(array.type) else "ms"))
    tick_N = array.cast(pa.int64()).fill_null(0).to_numpy()
    if array.type.unit == "ns":
        us_N = (tick_N // 1_000) + (tick_N % 1_000 >= 500)
    else:
        factor = _TICKS[array.type.unit]
        us_N = np.clip(tick_N, _FIRST_US // factor, _LAST_US // factor) * factor
    return pa.array(us_N, pa.int64(), mask=array.is_null().to_numpy(False)).cast(wanted)


def _is_uuid(found: pa.DataType) -> bool:
    return str(found.extension_name) == "arrow.uuid"


def _is_list(found: pa.DataType) -> bool:
    views = pt.is_list_view(found) or pt.is_large_list_view(found)
    return bool(
        views or pt.is_list(found) or pt.is_large_list(found) or pt.is_fixed_size_list(found)
    )


def _is_binary(found: pa.DataType) -> bool:
    tests = (pt.is_binary, pt.is_large_binary, pt.is_binary_view, pt.is_fixed_size_binary)
    return any(test(found) for test in tests)


def _is_string(found: pa.DataType) -> bool:
    return bool(pt.is_string(found) or pt.is_large_string(found) or pt.is_string_view(found))


_KINDS: dict[str, _Test] = {
    "string": _is_string,
    "binary": _is_binary,
    "bool": pt.is_boolean,
    "whole": pt.is_integer,
    "float": pt.is_floating,
    "decimal": pt.is_decimal,
    "null": pt.is_null,
    "moment": lambda found: pt.is_timestamp(found) or pt.is_date(found),
    "clock": pt.is_time,
}
_TEXTS = dict.fromkeys(("string", "binary"), pa.string())
_NUMBERS = ("whole", "float", "decimal")
_NULL = {"null": pa.null()}
_BECOMES: dict[Role, dict[str, pa.DataType]] = {
    "id": _NULL | _TEXTS | dict.fromkeys(_NUMBERS, pa.string()),
    "text": dict.fromkeys(_KINDS, pa.string()) | _NULL,
    "whole": _NULL | _TEXTS | dict.fromkeys(_NUMBERS, pa.int64()),
    "any": _NULL
    | _TEXTS
    | {
        "bool": pa.bool_(),
        "whole": pa.int64(),
        "float": pa.float64(),
        "decimal": pa.float64(),
        "moment": pa.timestamp("us"),
    },
}
_CASTS: dict[str, Callable[[Place, pa.Array], pa.Array]] = {
    "string": _text,
    "int64": _whole,
    "double": lambda _, array: array.cast(pa.float64(), safe=False),
    "bool": lambda _, array: array,
}
