"""Arrays that lie on disk, so that what grows with the log need not fit into memory.

The files have no names: they go with the last array that looks at them, also when a run is killed.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

PART = 1 << 18
"""Rows that are held in memory at a time."""
_FORM = "form.json"


def blank(shape: tuple[int, ...], dtype: DTypeLike, folder: Path | None) -> NDArray[Any]:
    """Return an array of zeros on disk.

    Parameters
    ----------
    shape, dtype
        As for `numpy.zeros`.
    folder
        On which disk; None is where the system keeps temporary files, which may be memory.
    """
    if 0 in shape:
        return np.zeros(shape, dtype)
    with TemporaryFile(dir=folder) as file:
        # A full disk is an error here; written through a map later it would be a SIGBUS.
        os.posix_fallocate(file.fileno(), 0, math.prod(shape) * np.dtype(dtype).itemsize)
        return np.asarray(np.memmap(file, dtype, "r+", shape=shape))


def columns(
    batches: Iterable[pa.RecordBatch], names: tuple[str, ...], folder: Path | None
) -> dict[str, NDArray[np.int64]]:
    """Return these columns of a stream as arrays on disk; times become microseconds."""
    with ExitStack() as stack:
        files = {name: stack.enter_context(TemporaryFile(dir=folder)) for name in names}
        for batch in batches:
            for name, file in files.items():
                file.write(_numbers(batch[name]).data)
        return {name: _opened(file) for name, file in files.items()}


def _numbers(column: pa.Array) -> NDArray[np.int64]:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", tz="UTC"))
    return np.ascontiguousarray(column.cast(pa.int64()).to_numpy())


def _opened(file: IO[bytes]) -> NDArray[np.int64]:
    file.flush()
    if not file.tell():
        return np.zeros(0, np.int64)
    return np.asarray(np.memmap(file, np.int64, "r"))


def taken(array: NDArray[Any], rows: NDArray[np.intp], folder: Path | None) -> NDArray[Any]:
    """Return the chosen rows of an array, on disk."""
    found = blank((len(rows), *array.shape[1:]), array.dtype, folder)
    width = int(np.prod(array.shape[1:]))
    for part in parts(len(rows), max(1, PART // max(1, width))):
        found[part] = array[rows[part]]
    return found


def stored(array: NDArray[Any], folder: Path | None) -> NDArray[Any]:
    """Return the same array on disk; without a folder the array itself."""
    if folder is None:
        return array
    found = blank(array.shape, array.dtype, folder)
    found[...] = array
    return found


def parts(rows: int, most: int | None = None) -> Iterator[slice]:
    """Yield runs of rows, at most so many at a time, `PART` if nothing is said."""
    step = most or PART
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def lay_out(arrays: Mapping[str, NDArray[Any]], folder: Path, form: int) -> None:
    """Write arrays under names into a folder that is new, as files to be mapped.

    `form` says what they mean: who reads another one reads none of them.
    """
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
    (folder / _FORM).write_text(json.dumps({"form": form, "arrays": sorted(arrays)}) + "\n")


def laid_out(folder: Path, form: int) -> dict[str, NDArray[Any]] | None:
    """Map what `lay_out` wrote, to be read alone; None if there is none of this form."""
    if not (folder / _FORM).exists():
        return None
    told = json.loads((folder / _FORM).read_text())
    if told["form"] != form:
        return None
    paths = {name: folder / f"{name}.npy" for name in told["arrays"]}
    return {name: _mapped(path) for name, path in paths.items()}


def _mapped(path: Path) -> NDArray[Any]:
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.asarray(found) if found.size else np.load(path, allow_pickle=False)
