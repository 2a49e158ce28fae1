"""Hours of the served log that are over: sealed as tables, and read beside what is still open.

A sealed hour holds what was shown, what came of it and what happened in the columns of the
contracts, each row once, and the records themselves, from which state and replay come.  Segments go
when the hour that holds them was read back; until then they stay, and count once.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.contracts.disk import sync_folder
from tessera.contracts.hashes import sha256
from tessera.contracts.tables import EVENTS, EXPOSURES, OUTCOMES, TABLES
from tessera.serve.erased import Erased, copy_list, masked_rows, without_erased
from tessera.serve.events import FORGET, OF_SLATES, Record
from tessera.serve.log import (
    OPEN,
    BrokenLog,
    Segment,
    drop_empty,
    is_open,
    line,
    mend,
    read_segment,
)
from tessera.serve.sealing import outcomes, seal, tables, write_tables

SEALED = "sealed"
"""Folder of the sealed hours beside the segments."""
RECORDS = "records"
"""Name of the table of the records themselves."""
_FACTS = "hour.json"
MAKING = ".making"
"""How the name of a folder begins that is being written."""
_LINE = "line"
_FORGET_LINE, *_OF_SLATES = (f'{{"kind":"{kind}"' for kind in (FORGET, *OF_SLATES))
"""How their lines begin; slates need not be parsed to know the events."""
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Hour:
    """A sealed hour, or the part of one that was sealed at once."""

    path: Path
    segments: dict[str, str]
    """SHA-256 of each segment that it holds."""
    files: dict[str, dict[str, Any]]
    """Rows and SHA-256 of each table, the records among them."""
    erased: str = ""
    """Mark of the list of the erased under which it was written."""
    instead: str = ""
    """Name of the hour that it was rewritten from, which counts no more."""

    def rows(self, name: str, columns: list[str] | None = None, **more: Any) -> pa.Table:
        """Read one of the tables."""
        return pq.read_table(self.path / f"{name}.parquet", columns=columns, **more)

    def tell(self) -> None:
        """Write down what it holds, beside its tables."""
        facts = {name: told for name, told in asdict(self).items() if name != "path"}
        aside = self.path / f".{_FACTS}"
        aside.write_text(json.dumps(facts, indent=2) + "\n")
        _sync(aside)
        aside.replace(self.path / _FACTS)

    def check(self) -> None:
        """Compare each file with what was sealed.

        Raises
        ------
        BrokenLog
            If one is missing or was changed.
        """
        for name, told in self.files.items():
            path = self.path / f"{name}.parquet"
            if not path.is_file() or sha256(path) != told["sha256"]:
                raise BrokenLog(f"{path} is not what was sealed: bring it back from a backup")

    def records(self, *, events_only: bool = False, beginning: str = "") -> Iterator[Record]:
        """Read the records, or those whose lines begin so, in the order in which they came."""
        column = self.rows(RECORDS)[_LINE]
        if beginning:
            column = column.filter(pc.starts_with(column, beginning))
        for of_slates in _OF_SLATES if events_only else ():
            column = column.filter(pc.invert(pc.starts_with(column, of_slates)))
        for one in column.to_pylist():
            yield json.loads(one)


def sealed_hours(folder: Path) -> list[Hour]:
    """List the sealed hours of a log, oldest first."""
    found = [
        Hour(path.parent, **json.loads(path.read_text()))
        for path in sorted((folder / SEALED).glob(f"[!.]*/{_FACTS}"))
    ]
    gone = {hour.instead for hour in found}
    return [hour for hour in found if hour.path.name not in gone]


def open_segments(folder: Path) -> list[Segment]:
    """Read the segments that no sealed hour holds, oldest first."""
    held = {name for hour in sealed_hours(folder) for name in hour.segments}
    return [read_segment(path) for path in _paths(folder) if path.name not in held]


@dataclass(frozen=True, slots=True)
class Before:
    """What the log of before tells of events."""

    records: list[Record]
    torn: int
    """Bytes that a crash tore off it."""


def read_before(folder: Path) -> Before:
    """Read the log that is there, cut off what was torn, and remove what is empty.

    Raises
    ------
    BrokenLog
        If the log was changed.
    """
    waiting = open_segments(folder)
    torn = sum(mend(one) for one in waiting)
    for one in waiting:
        drop_empty(one)
    return Before(list(records(folder, events_only=True)), torn)


def records(folder: Path, *, events_only: bool = False) -> Iterator[Record]:
    """Read all that a log holds, sealed and open, while nothing of it is sealed.

    Of `events_only` come the records that tell of events: slates are most of a log.
    """
    masked = Erased(folder).masked
    with _still(folder):
        for hour in sealed_hours(folder):
            hour.check()
            yield from map(masked, hour.records(events_only=events_only))
        for segment in open_segments(folder):
            found = (
                one for one in segment.records if not (events_only and one["kind"] in OF_SLATES)
            )
            yield from map(masked, found)


def write_log(folder: Path, target: Path) -> dict[str, Any]:
    """Write all of a log as tables into a folder that is there, each row once; see `seal`."""
    with _still(folder):
        hours = sealed_hours(folder)
        for hour in hours:
            hour.check()
        waiting = [one for segment in open_segments(folder) for one in segment.records]
        late = tables(waiting, _Before(hours))
        shown, happened = (
            pa.concat_tables([*(hour.rows(name) for hour in hours), late[name]])
            for name in (EXPOSURES.name, EVENTS.name)
        )
        gone = pa.array(sorted(_forgotten(hours, waiting)), pa.string())
        happened = happened.filter(pc.invert(pc.is_in(happened["event_id"], gone)))
    erased = Erased(folder)
    shown, happened = (without_erased(masked_rows(rows, erased)) for rows in (shown, happened))
    # Of an hour alone they lack what came before its slate did, and may repeat a former hour's.
    answered = outcomes(shown, happened)
    found = {EXPOSURES.name: shown, OUTCOMES.name: answered, EVENTS.name: happened}
    by_key = {
        name: rows.sort_by([(column, "ascending") for column in TABLES[name].key])
        for name, rows in found.items()
    }  # equal rows give equal bytes, sealed or not
    copy_list(folder, target)
    return seal(by_key, target)


def _forgotten(hours: Sequence[Hour], waiting: Sequence[Record]) -> set[str]:
    """Return the ids of all events that count no more, whenever they were sealed."""
    told = [one for hour in hours for one in hour.records(beginning=_FORGET_LINE)]
    told += [one for one in waiting if one["kind"] == FORGET]
    return {name for one in told for name in one["event_ids"]}


def span(folder: Path) -> tuple[datetime, datetime]:
    """Return the first and the last moment of what `write_log` wrote, which is not nothing."""
    ends = [
        pc.min_max(pq.read_table(folder / f"{name}.parquet")["event_ts"]).as_py()
        for name in (EXPOSURES.name, EVENTS.name)
    ]
    known = [end for end in ends if end["min"] is not None]
    return min(end["min"] for end in known), max(end["max"] for end in known)


def seal_closed(folder: Path, now_ns: int | None = None) -> list[Path]:
    """Seal the segments of former hours that nobody writes any more; return the new folders.

    Another process that is at it is left alone.
    """
    if not folder.is_dir():
        return []
    this = _hour_ns(time.time_ns() if now_ns is None else now_ns)
    try:
        with alone(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            _clear(folder)
            over = [path for path in _paths(folder) if began(path) < this and not is_open(path)]
            for path in over:
                if not path.stat().st_size:
                    path.unlink()
            full = (path for path in over if path.exists())
            return [
                _seal_hour(folder, hour, list(paths))
                for hour, paths in groupby(full, lambda path: _hour_ns(began(path)))
            ]
    except BlockingIOError:
        return []


@contextmanager
def _still(folder: Path) -> Iterator[None]:
    """Keep others from sealing: what is read sealed must not be read open too, nor missed."""
    if not folder.is_dir():
        yield
        return
    with alone(folder, fcntl.LOCK_SH):
        yield


@contextmanager
def alone(folder: Path, how: int) -> Iterator[None]:
    """Hold the lock of the sealed hours."""
    (folder / SEALED).mkdir(exist_ok=True)
    with (folder / SEALED / ".lock").open("w") as lock:
        fcntl.flock(lock, how)
        yield


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
    told = write_tables(tables(found, _Before(sealed_hours(folder))), made)
    told[RECORDS] = write_lines(found, made / f"{RECORDS}.parquet")
    settle(Hour(made, {path.name: sha256(path) for path in paths}, told, mark), final)
    _clear(folder)
    return final


def settle(made: Hour, final: Path) -> None:
    """Give an hour that was written aside its name, when all of it is on the disk."""
    made.tell()
    for path in (*made.path.iterdir(), made.path):
        _sync(path)
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
    pq.write_table(pa.table({_LINE: pa.array(text, pa.string())}), path, compression="zstd")
    return {"rows": len(text), "sha256": sha256(path)}


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{OPEN}"))


def began(path: Path) -> int:
    """Return when a segment was begun, in nanoseconds since 1970, by its name."""
    return int(path.name.removesuffix(OPEN).partition("-")[0])


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


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True, slots=True)
class _Before:
    """What was sealed before, looked up for the ids of some rows alone."""

    hours: Sequence[Hour]

    def requests(self, shown: pa.Table) -> pa.Array:
        return self._known(EXPOSURES.name, "request_id", shown["request_id"])["request_id"]

    def ids(self, happened: pa.Table) -> pa.Array:
        return self._known(EVENTS.name, "event_id", happened["event_id"])["event_id"]

    def shown(self, happened: pa.Table) -> pa.Table:
        named = pc.drop_null(happened["request_id"])
        return self._known(EXPOSURES.name, "request_id", named)

    def _known(self, table: str, column: str, ids: pa.ChunkedArray) -> pa.Table:
        among = pc.field(column).isin(ids.unique())
        found = [hour.rows(table, filters=among) for hour in self.hours]
        return pa.concat_tables([tables(())[table], *found])
