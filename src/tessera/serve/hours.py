"""The served log as it lies on the disk: hours that were sealed, and segments still open.

A sealed hour holds what was shown, what came of it and what happened in the columns of the
contracts, each row once, and the records themselves, from which state and replay come.  Segments go
when the hour that holds them was read back; until then they stay, and count once.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tessera.contracts.disk import sync_folder
from tessera.contracts.hashes import sha256
from tessera.serve.classes import CLASS
from tessera.serve.closes import CLOSE
from tessera.serve.erased import Erased
from tessera.serve.events import EVENTLESS, FORGET, SLATE, Record
from tessera.serve.log import (
    OPEN,
    BrokenLog,
    Segment,
    drop_empty,
    mend,
    read_segment,
)

SEALED = "sealed"
"""Folder of the sealed hours beside the segments."""
RECORDS = "records"
"""Name of the table of the records themselves."""
CLASSES = "classes"
"""What is told of it where any tells of a class: how many do."""
_FACTS = "hour.json"
MAKING = ".making"
"""How the name of a folder begins that is being written."""
LINE = "line"
"""Its one column."""
FORGET_LINE, CLOSE_LINE, CLASS_LINE, *_EVENTLESS = (
    f'{{"kind":"{kind}"' for kind in (FORGET, CLOSE, CLASS, *EVENTLESS)
)
"""How their lines begin; slates need not be parsed to know the events."""


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

    @property
    def classes(self) -> int:
        """How many of its records tell of a class: in most hours none does."""
        return int(self.files[RECORDS].get(CLASSES, 0))

    def rows(self, name: str, columns: list[str] | None = None, **more: Any) -> pa.Table:
        """Read one of the tables."""
        return pq.read_table(self.path / f"{name}.parquet", columns=columns, **more)

    def tell(self) -> None:
        """Write down what it holds, beside its tables."""
        facts = {name: told for name, told in asdict(self).items() if name != "path"}
        aside = self.path / f".{_FACTS}"
        aside.write_text(json.dumps(facts, indent=2) + "\n")
        sync_folder(aside)
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
        column = self.rows(RECORDS)[LINE]
        if beginning:
            column = column.filter(pc.starts_with(column, beginning))
        for eventless in _EVENTLESS if events_only else ():
            column = column.filter(pc.invert(pc.starts_with(column, eventless)))
        for one in column.to_pylist():
            yield orjson.loads(one)


def sealed_hours(folder: Path, known: Container[Path] = ()) -> list[Hour]:
    """List the sealed hours of a log, oldest first, but for those that are known: none changes."""
    found = [
        Hour(path.parent, **json.loads(path.read_text()))
        for path in sorted((folder / SEALED).glob(f"[!.]*/{_FACTS}"))
        if path.parent not in known
    ]
    gone = {hour.instead for hour in found}
    return [hour for hour in found if hour.path.name not in gone]


def open_segments(folder: Path) -> Iterator[Segment]:
    """Read the segments that no sealed hour holds, oldest first, one after the other."""
    held = {name for hour in sealed_hours(folder) for name in hour.segments}
    for path in paths(folder):
        if path.name not in held:
            yield read_segment(path)


@dataclass(frozen=True, slots=True)
class Before:
    """What the log of before tells of events."""

    records: list[Record]
    torn: int
    """Bytes that a crash tore off it."""


def read_before(folder: Path, see: Callable[[Record], None] | None = None) -> Before:
    """Read the log that is there, cut off what was torn, and remove what is empty.

    Each slate is told to `see`, if there is one, since they are too many to keep.

    Raises
    ------
    BrokenLog
        If the log was changed.
    """
    torn, kept = 0, []
    for one in open_segments(folder):
        torn += mend(one)
        drop_empty(one)
    for record in records(folder, events_only=see is None):
        if record["kind"] not in EVENTLESS:
            kept.append(record)
        elif see is not None and record["kind"] == SLATE:
            see(record)
    return Before(kept, torn)


def records(folder: Path, *, events_only: bool = False) -> Iterator[Record]:
    """Read all that a log holds, sealed and open, while nothing of it is sealed.

    Of `events_only` come the records that tell of events: slates are most of a log.
    """
    masked = Erased(folder).masked
    with still(folder):
        for hour in sealed_hours(folder):
            hour.check()
            yield from map(masked, hour.records(events_only=events_only))
        for segment in open_segments(folder):
            found = (
                one for one in segment.records if not (events_only and one["kind"] in EVENTLESS)
            )
            yield from map(masked, found)


@contextmanager
def still(folder: Path) -> Iterator[None]:
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


def paths(folder: Path) -> list[Path]:
    """List the segments of a log, oldest first."""
    return sorted(folder.glob(f"*{OPEN}"))


def began(path: Path) -> int:
    """Return when a segment was begun, in nanoseconds since 1970, by its name."""
    return int(path.name.removesuffix(OPEN).partition("-")[0])
