"""Types of arrays, and checks of them where a person's code meets ours.

The letters of a name are its shape: `top_NK` has two dimensions, and its first is as long as that
of `relevant_N`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64s = NDArray[np.float64]
Float32s = NDArray[np.float32]
Ints = NDArray[np.int64]
Int32s = NDArray[np.int32]
Int8s = NDArray[np.int8]
Bools = NDArray[np.bool_]

_LETTERS = re.compile(r"_([A-Z0-9]+)$")
_NUMBERS = "biuf"
"""Kinds of NumPy's types: boolean, integer, unsigned, float."""


def check(**arrays: NDArray[Any]) -> None:
    """Refuse arrays of other shapes than their names say, that are no numbers, or hold NaN.

    Raises
    ------
    ValueError
        Naming the first array that is wrong.

    >>> check(top_NK=np.zeros((2, 3), int), relevant_N=np.ones(2))
    >>> check(top_NK=np.zeros((2, 3), int), relevant_N=np.ones(3))
    Traceback (most recent call last):
        ...
    ValueError: relevant_N has 3 rows of N where top_NK has 2: give both the same
    """
    shapes(**arrays)
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            at = np.argwhere(~np.isfinite(array))[0].tolist()
            raise ValueError(f"{name} holds {array[tuple(at)]} at {at}: leave such rows out")


def shapes(**arrays: NDArray[Any]) -> None:
    """Do as `check`, but let NaN and infinity be.

    Raises
    ------
    ValueError
        Naming the first array that is wrong.
    """
    known: dict[str, tuple[int, str]] = {}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in _NUMBERS:
            kind = getattr(array, "dtype", type(array).__name__)
            raise ValueError(f"{name} is no array of numbers but {kind}: convert it")
        _check_shape(name, array, known)


def whole(**arrays: NDArray[Any]) -> None:
    """Refuse arrays that do not count or number something.

    Raises
    ------
    ValueError
        Naming the first array that is not of integers.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "iu":
            raise ValueError(f"{name} is of {array.dtype}, not of integers: convert it")


def distinct(**lists: NDArray[Any]) -> None:
    """Refuse lists that name an item twice; -1 is an empty place.

    Raises
    ------
    ValueError
        Naming the first list and item.
    """
    for name, top_NK in lists.items():
        ordered_NK = np.sort(top_NK, axis=1)
        twice_NK = (ordered_NK[:, 1:] == ordered_NK[:, :-1]) & (ordered_NK[:, 1:] >= 0)
        if twice_NK.any():
            row, place = np.argwhere(twice_NK)[0].tolist()
            item = ordered_NK[row, place + 1]
            raise ValueError(f"{name} names item {item} twice in list {row}: drop one")


def numbered(things: int, **lists: NDArray[Any]) -> None:
    """Refuse lists that number things other than 0 to `things` - 1; -1 is an empty place.

    Raises
    ------
    ValueError
        Naming the first list that is not of such numbers.
    """
    whole(**lists)
    for name, numbers in lists.items():
        least, most = int(numbers.min(initial=-1)), int(numbers.max(initial=-1))
        if most >= things:
            raise ValueError(f"{name} names item {most} of {things}: number them from 0")
        if least < -1:
            raise ValueError(f"{name} names item {least}: -1 alone is an empty place")


def finite(**arrays: NDArray[Any]) -> None:
    """Refuse infinity, but let NaN be, which stands for what nobody knows.

    Raises
    ------
    ValueError
        Naming the first array that is wrong.
    """
    shapes(**arrays)
    for name, array in arrays.items():
        if np.isinf(array).any():
            raise ValueError(f"{name} holds infinity: give NaN to what is unknown")


def _check_shape(name: str, array: NDArray[Any], known: dict[str, tuple[int, str]]) -> None:
    found = _LETTERS.search(name)
    letters = found.group(1) if found else ""
    if array.ndim != len(letters):
        raise ValueError(f"{name} has {array.ndim} dimensions, not {len(letters)}: reshape it")
    for letter, length in zip(letters, array.shape, strict=True):
        before, who = known.setdefault(letter, (length, name))
        if before != length:
            raise ValueError(
                f"{name} has {length} rows of {letter} where {who} has {before}: give both the same"
            )
