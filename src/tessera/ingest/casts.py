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
_TICKS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_SHOULD = {
    "id": "should hold ids, which are text or whole numbers",
    "text": "should hold text",
    "whole": "should hold whole numbers",
    "any": "should hold text, numbers, moments or lists of them",
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
        return BadInput(f"{self.file}: column {self.column} holds {found}, {should}: mend it")

    def bad_value(self, array: pa.Array, bad: pa.Array, told: str) -> BadInput:
        """Name the first bad value."""
        place = pc.index(bad.fill_null(False), True).as_py()
        row = f", row {self.first_row + place}" if self.first_row else ""
        shown = str(array[place].as_py())[:40]
        return BadInput(f"{self.file}{row}: column {self.column} holds {shown}: {told}")


def target(place: Place, found: pa.DataType) -> pa.DataType:
    """Tell what a type becomes.

    Raises
    ------
    BadInput
        If a column of this role cannot hold it.
    """
    if pt.is_dictionary(found):
        return target(place, found.value_type)
    if isinstance(found, pa.BaseExtensionType):
        return target(place, pa.string() if _is_uuid(found) else found.storage_type)
    if _is_list(found):
        return pa.list_(target(place, found.value_type))
    if pt.is_null(found):
        return found
    kind = next((kind for kind, test in _KINDS.items() if test(found)), None)
    becomes = _BECOMES[place.role].get(kind or "")
    if becomes is None:
        raise place.bad_type(found)
    return (
        pa.timestamp("us", "UTC")
        if kind == "moment" and becomes != pa.string() and _zoned(found)
        else becomes
    )


def cast(place: Place, array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Turn values into what `target` said.

    Raises
    ------
    BadInput
        Naming the first value that cannot be turned exactly.
    """
    found = array.type
    if pt.is_null(found):
        return pa.nulls(len(array), wanted)
    if pt.is_dictionary(found):
        return cast(place, array.dictionary_decode(), wanted)
    if isinstance(found, pa.BaseExtensionType):
        return cast(place, _texts(array) if _is_uuid(found) else array.storage, wanted)
    if _is_list(found):
        return _list(place, array, wanted)
    if pt.is_timestamp(wanted):
        return _moments(array, wanted)
    return _CASTS[str(wanted)](place, array)


def _list(place: Place, array: pa.Array, wanted: pa.DataType) -> pa.Array:
    plain = pa.concat_arrays([array.cast(pa.list_(array.type.value_type))])
    inside = Place(place.file, place.column, place.role)
    values = cast(inside, plain.values, wanted.value_type)
    return pa.ListArray.from_arrays(plain.offsets, values, wanted, mask=plain.is_null())


def _text(place: Place, array: pa.Array) -> pa.Array:
    found = array.type
    if _is_binary(found):
        return _decoded(place, array)
    if not (pt.is_floating(found) or pt.is_decimal(found)):
        return array.cast(pa.string())
    whole = _is_whole(array)
    fraction = pc.and_(whole.is_valid(), pc.invert(whole.fill_null(True)))
    if pc.any(fraction).as_py() and place.role == "id":
        raise place.bad_value(array, fraction, _SHOULD["id"])
    numbers = array.cast(pa.float64(), safe=False) if pt.is_floating(found) else array
    shown = pc.replace_substring_regex(numbers.cast(pa.string()), r"\.0*$", "")
    if pt.is_floating(found):
        digits = pc.if_else(whole, numbers, None).cast(pa.int64()).cast(pa.string())
        return pc.if_else(whole, digits, numbers.cast(pa.string()))
    return pc.if_else(whole, shown, numbers.cast(pa.string()))


def _whole(place: Place, array: pa.Array) -> pa.Array:
    if pt.is_integer(array.type):
        over = (
            pc.greater(array, pa.scalar(2**63 - 1, array.type))
            if pt.is_uint64(array.type)
            else None
        )
        if over is not None and pc.any(over).as_py():
            raise place.bad_value(array, over, "no number that large can be held")
        return array.cast(pa.int64())
    fraction = pc.invert(_is_whole(array))
    if pc.any(fraction).as_py():
        raise place.bad_value(array, fraction, _SHOULD["whole"])
    return _without_nan(array).cast(pa.int64())


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


def _texts(array: pa.Array) -> pa.Array:
    return pa.array(
        [None if value is None else str(value) for value in array.to_pylist()], pa.string()
    )


def _is_uuid(found: pa.DataType) -> bool:
    return str(found.extension_name) == "arrow.uuid"


def _zoned(found: pa.DataType) -> bool:
    return pt.is_timestamp(found) and found.tz is not None


def _is_list(found: pa.DataType) -> bool:
    tests = (
        pt.is_list,
        pt.is_large_list,
        pt.is_fixed_size_list,
        pt.is_list_view,
        pt.is_large_list_view,
    )
    return any(test(found) for test in tests)


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
    "moment": lambda found: pt.is_timestamp(found) or pt.is_date(found),
    "clock": pt.is_time,
}
_NUMBERS = ("whole", "float", "decimal")
_BECOMES: dict[Role, dict[str, pa.DataType]] = {
    "id": dict.fromkeys(("string", "binary", *_NUMBERS), pa.string()),
    "text": dict.fromkeys(_KINDS, pa.string()),
    "whole": dict.fromkeys(_NUMBERS, pa.int64()) | dict.fromkeys(("string", "binary"), pa.string()),
    "any": dict.fromkeys(("string", "binary"), pa.string())
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
