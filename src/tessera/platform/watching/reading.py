"""The served log, sealed and open, read for some days: each record once, by its own moment."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from tessera.contracts.arrow import DAY_US
from tessera.serve.classes import CLASS
from tessera.serve.closes import CLOSE
from tessera.serve.erased import PSEUDONYM, Erased
from tessera.serve.events import COUNT, EVENT, FORGET, SLATE, Record
from tessera.serve.hours import LINE, RECORDS, Hour, paths, sealed_hours, still
from tessera.serve.log import is_open, read_segment

_MOMENT = re.compile(rb'"moment":(-?\d+)')
_REQUEST = re.compile(rb'"request_id":("(?:[^"\\]|\\.)*")')
_KIND = re.compile(rb'^\{"kind":"(\w+)"')
_ROWS = 4_000
"""Lines that are laid out at a time."""
BACK_US = 2 * 3_600_000_000
"""A slate that lies so long before one that was logged earlier was drawn by another clock: segments
of several processes overlap by an hour at most."""
KINDS = (SLATE, EVENT, CLOSE, COUNT)
_TOLD = (SLATE, EVENT, CLOSE, CLASS, FORGET)
"""What a replay needs."""
_NAMED = {SLATE: "request_id", EVENT: "event_id", CLASS: "event_id", COUNT: "count_id"}
"""By what a record is known."""
Kinds = dict[int, set[str]]
"""Kinds of records that are wanted, by day."""


@dataclass(slots=True)
class Heard:
    """What was odd about the records of one day, and what was read of it."""

    day: int
    torn: int = 0
    """Bytes of lines that a crash tore, of whichever day."""
    again: int = 0
    """Records that lie in the log twice."""
    back_us: int = 0
    """How far the clock went back between slates of the day."""
    newest: int = 0
    older: int = 0
    """Slates of an older version, which say less."""
    digest: dict[str, int] = field(default_factory=dict)
    """By kind: a sum of the hashes of its records, whatever their order."""
    rows: dict[str, int] = field(default_factory=dict)

    def hear(self, record: Record, line: bytes, *, is_again: bool) -> None:
        """Take in a record of any day."""
        if day_of(record["moment"]) != self.day:
            return
        if is_again:
            self.again += 1
            return
        kind = str(record["kind"])
        told = int.from_bytes(hashlib.blake2b(line, digest_size=32).digest(), "big")
        self.digest[kind] = (self.digest.get(kind, 0) + told) % (1 << 256)
        self.rows[kind] = self.rows.get(kind, 0) + 1
        if kind == SLATE:
            self.older += not {"sources", "scores", "flags"} <= record.keys()
            self.back_us = max(self.back_us, self.newest - record["moment"])
            self.newest = max(self.newest, record["moment"])


def day_of(moment: int) -> int:
    """Return the UTC day of a moment, counted from 1970."""
    return moment // DAY_US


def records(folder: Path, kinds_of_day: Kinds, heard: Heard, back: int = 0) -> Iterator[Record]:
    """Read the records of some days, nobody's who was erased, each once.

    What bears the id of another record of its day is the same; so is an event that bears the id of
    one of few days before it, since it may have been sent again behind midnight.

    Parameters
    ----------
    folder : Path
        The served log.
    kinds_of_day : dict
        Which kinds of records are wanted of each day.
    heard : Heard
        Is told of the records of its day.
    back : int
        How many days before its own an event is looked for; whoever asks wants their events too, or
        what is found would hang on which days are read.
    """
    seen: set[bytes] = set()
    erased = Erased(folder)
    masked = erased.masked if erased.mark else _as_it_is
    for line in _lines(folder, kinds_of_day, heard):
        if _kind(line) not in kinds_of_day.get(day_of(_moment(line)), ()):
            continue
        record: Record = masked(orjson.loads(line))
        if str(record.get("user_id", "")).startswith(PSEUDONYM):
            continue
        first, *before = _marks(record, back)
        is_again = first in seen or any(mark in seen for mark in before)
        heard.hear(record, line, is_again=is_again)
        seen.add(first)
        if not is_again:
            yield record


def replayable(folder: Path, slates: set[str], until_us: int) -> Iterator[Record]:
    """Read all that a log tells before a moment, in its order, but of slates some alone."""
    erased = Erased(folder)
    masked = erased.masked if erased.mark else _as_it_is
    for line in _lines(folder, None, Heard(0)):
        kind = _kind(line)
        if kind not in _TOLD or _moment(line) >= until_us:
            continue
        record: Record = orjson.loads(line) if kind != SLATE or _named(line) in slates else {}
        if record:
            yield masked(record)


def _named(line: bytes) -> str:
    found = _REQUEST.search(line)
    return str(orjson.loads(found[1])) if found else ""


def _as_it_is(record: Record) -> Record:
    return record


def _marks(record: Record, back: int) -> Iterator[bytes]:
    """Return what tells one record from all others of its day, and of the days before it."""
    name = record.get(_NAMED.get(record["kind"], ""))
    if name is None:
        name = f"{record.get('item_id')}#{record['moment']}#{record.get('told')}"
    day, days = day_of(record["moment"]), 1 + (back if record["kind"] == EVENT else 0)
    for one in range(day, day - days, -1):
        text = f"{record['kind']}#{one}#{name}".encode(errors="surrogatepass")
        yield hashlib.blake2b(text, digest_size=16).digest()


def _lines(folder: Path, wanted: Kinds | None, heard: Heard) -> Iterator[bytes]:
    """Read the lines of all hours that may hold a day, and of the segments that are open.

    None wants every day.
    """
    if not folder.is_dir():
        return
    with still(folder):
        hours = sealed_hours(folder)
        for hour in hours:
            if wanted is None or may_hold(hour, wanted):
                hour.check()
                yield from _of_hour(hour)
        held = {name for hour in hours for name in hour.segments}
        for path in paths(folder):
            if path.name not in held:
                yield from _of_segment(path, heard)


def may_hold(hour: Hour, wanted: Iterable[int]) -> bool:
    """Tell by its first and last moment whether an hour holds a day; where it says none, it may."""
    told = hour.files[RECORDS]
    return within(told.get("first"), told.get("last"), wanted)


def open_spans(folder: Path) -> list[tuple[str, int, tuple[int, int]]]:
    """Return name, whole bytes, first and last moment of each open segment that tells of any."""
    found = []
    for path in paths(folder):
        segment = read_segment(path)
        moments = [one["moment"] for one in segment.records if "moment" in one]
        if moments:
            found.append((path.name, segment.whole, (min(moments), max(moments))))
    return found


def within(first: int | None, last: int | None, wanted: Iterable[int]) -> bool:
    """Tell whether any of some days lies between two moments; where they are unknown it may."""
    if first is None or last is None:
        return True
    return any(day_of(first) <= day <= day_of(last) for day in wanted)


def _of_hour(hour: Hour) -> Iterator[bytes]:
    with pq.ParquetFile(hour.path / f"{RECORDS}.parquet") as file:
        for batch in file.iter_batches(_ROWS, columns=[LINE]):
            lines = batch.column(0).cast(pa.large_binary())
            _, offsets, data = lines.buffers()
            end_R = np.frombuffer(offsets, np.int64)[lines.offset : lines.offset + len(lines) + 1]
            text = memoryview(data)
            for begin, end in itertools.pairwise(end_R.tolist()):
                yield bytes(text[begin:end])


def _of_segment(path: Path, heard: Heard) -> Iterator[bytes]:
    segment = read_segment(path)
    if segment.torn and not is_open(path):
        heard.torn += segment.torn
    for record in segment.records:
        yield orjson.dumps(record)


def _kind(line: bytes) -> str:
    found = _KIND.match(line)
    return found[1].decode() if found else ""


def _moment(line: bytes) -> int:
    found = _MOMENT.search(line)
    return int(found[1]) if found else -1
