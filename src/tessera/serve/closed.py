"""Segments of hours that are over become sealed hours.

Segments go when the hour that holds them was read back; until then they stay, and count once.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.contracts.disk import sync_folder
from tessera.contracts.hashes import sha256
from tessera.contracts.tables import EVENTS, EXPOSURES
from tessera.serve.classes import CLASS
from tessera.serve.erased import Erased
from tessera.serve.events import Record
from tessera.serve.hours import (
    CLASSES,
    LINE,
    MAKING,
    RECORDS,
    SEALED,
    Hour,
    alone,
    began,
    paths,
    sealed_hours,
)
from tessera.serve.log import BrokenLog, is_open, line, mend, read_segment
from tessera.serve.sealing import tables, write_tables

_SECOND_NS = 1_000_000_000
PART_BYTES = 64 * 2**20
"""Lines that are sealed at once; on their way to tables they take fourteen times as much."""


def seal_closed(folder: Path, now_ns: int | None = None) -> list[Path]:
    """Seal the segments of former hours that nobody writes any more; return the new folders.

    Another process that is at it is left alone.
    """
    if not folder.is_dir():
        return []
    try:
        with alone(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            _clear(folder)
            over = closed_segments(folder, time.time_ns() if now_ns is None else now_ns)
            for path in over:
                if not path.stat().st_size:
                    path.unlink()
            full = (path for path in over if path.exists())
            return [
                _seal_hour(folder, hour, part)
                for hour, paths in groupby(full, lambda path: _hour_ns(began(path)))
                for part in _parts(list(paths))
            ]
    except BlockingIOError:
        return []


def closed_segments(folder: Path, now_ns: int) -> list[Path]:
    """List the segments of former hours that nobody writes any more, oldest first."""
    this = _hour_ns(now_ns)
    return [path for path in paths(folder) if began(path) < this and not is_open(path)]


def _parts(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Give segments that are sealed at once: as many as memory has room for."""
    part, size = list[Path](), 0
    for path in paths:
        more = path.stat().st_size
        if part and size + more > PART_BYTES:
            yield part
            part, size = [], 0
        part.append(path)
        size += more
    if part:
        yield part


def _seal_hour(folder: Path, hour_ns: int, paths: list[Path]) -> Path:
    made = folder / SEALED / f"{MAKING}-{hour_ns}"
    final = _free_name(folder / SEALED, hour_ns)
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    segments = [read_segment(path) for path in paths]
    for segment in segments:
        mend(segment)
    erased = Erased(folder)
    mark = erased.mark
    found = [erased.masked(one) for segment in segments for one in segment.records]
    told = write_tables(tables(found, SealedBefore(sealed_hours(folder))), made)
    told[RECORDS] = write_lines(found, made / f"{RECORDS}.parquet")
    settle(Hour(made, {path.name: sha256(path) for path in paths}, told, mark), final)
    _clear(folder)
    return final


def settle(made: Hour, final: Path) -> None:
    """Give an hour that was written aside its name, when all of it is on the disk."""
    made.tell()
    for path in (*made.path.iterdir(), made.path):
        sync_folder(path)
    made.path.rename(final)
    sync_folder(final.parent)


def _clear(folder: Path) -> None:
    """Remove the segments that a sealed hour holds, after reading it back."""
    for hour in sealed_hours(folder):
        left = [folder / name for name in hour.segments if (folder / name).exists()]
        if not left:
            continue
        hour.check()
        for path in left:
            if sha256(path) != hour.segments[path.name]:
                raise BrokenLog(
                    f"{path} is not what {hour.path.name} was sealed from: move one of them away"
                )
        if len(left) == len(hour.segments) and not _holds(hour, left, Erased(folder)):
            raise BrokenLog(f"{hour.path} lacks lines of its segments: move it away, start again")
        for path in left:
            path.unlink()
        sync_folder(folder)


def _holds(hour: Hour, paths: list[Path], erased: Erased) -> bool:
    there = (one for path in paths for one in read_segment(path).records)
    return [*map(erased.masked, hour.records())] == [*map(erased.masked, there)]


def write_lines(found: Sequence[Record], path: Path) -> dict[str, Any]:
    """Write records as they stood in the log; return their count and the SHA-256 of the file."""
    text = [line(one).rpartition(b"\t")[0].decode() for one in found]
    pq.write_table(pa.table({LINE: pa.array(text, pa.string())}), path, compression="zstd")
    moments = [one["moment"] for one in found if "moment" in one]
    span = {"first": min(moments), "last": max(moments)} if moments else {}
    classes = sum(one["kind"] == CLASS for one in found)
    told = {CLASSES: classes} if classes else {}
    return {"rows": len(text), "sha256": sha256(path), **span, **told}


def _hour_ns(moment_ns: int) -> int:
    return moment_ns - moment_ns % (3600 * _SECOND_NS)


def same_hour(one_ns: int, other_ns: int) -> bool:
    """Tell whether two moments lie in one hour of the clock."""
    return _hour_ns(one_ns) == _hour_ns(other_ns)


def _free_name(folder: Path, hour_ns: int) -> Path:
    """Name a part of an hour: a worker that ended late is sealed into one of its own."""
    hour = datetime.fromtimestamp(hour_ns // _SECOND_NS, UTC).strftime("%Y-%m-%dT%H")
    number = sum(1 for _ in folder.glob(f"{hour}-*"))
    return folder / f"{hour}-{number:04d}"


@dataclass(frozen=True, slots=True)
class SealedBefore:
    """What was sealed before, looked up for the ids of some rows alone."""

    hours: Sequence[Hour]

    def requests(self, shown: pa.Table) -> pa.Array:
        """Return those of the requests that were sealed before."""
        return self._known(EXPOSURES.name, "request_id", shown["request_id"])["request_id"]

    def ids(self, happened: pa.Table) -> pa.Array:
        """Return those of the events that were sealed before."""
        return self._known(EVENTS.name, "event_id", happened["event_id"])["event_id"]

    def shown(self, happened: pa.Table) -> pa.Table:
        """Return the exposures of the requests that events name."""
        named = pc.drop_null(happened["request_id"])
        return self._known(EXPOSURES.name, "request_id", named)

    def _known(self, table: str, column: str, ids: pa.ChunkedArray) -> pa.Table:
        among = pc.field(column).isin(ids.unique())
        found = [hour.rows(table, filters=among) for hour in self.hours]
        return pa.concat_tables([tables(())[table], *found])
