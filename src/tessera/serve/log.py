"""The served log: append-only, acknowledged only when it is on the disk, sealed into Parquet.

A segment is a file of lines, each a record as JSON with its checksum.  Whoever appends waits; one
thread writes all that wait in one go and syncs once (group commit).  A line that a crash tore off
at the end was never acknowledged: it is cut off at the next start, and said.  Whoever writes a
segment holds a lock on it, which ends with the process: what is locked is left alone by others.

What was told not to be logged must not be in the log: what a failure left behind the last sync is
cut off, and what somebody gave up waiting for becomes a line as long that tells of nothing.
"""

from __future__ import annotations

import fcntl
import os
import queue
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from itertools import accumulate
from pathlib import Path
from typing import IO, cast

import orjson

from tessera.contracts.disk import sync_folder
from tessera.contracts.errors import TesseraError
from tessera.serve import measures
from tessera.serve.events import Record

OPEN = ".log"
"""Ending of a segment that is not sealed."""
VOID = "void"
"""Kind of a record that was given up before it was on the disk."""
COMMIT_S = 5.0
"""A disk that takes longer is as good as none."""
_MOMENT_S = 0.2
_STOP = None


class BrokenLog(TesseraError):
    """A served log that was changed after it was written."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What a file of the log holds."""

    path: Path
    records: list[Record]
    whole: int
    """Bytes of whole lines; what lies behind them was torn off."""

    @property
    def torn(self) -> int:
        """Bytes of the line that a crash tore."""
        return self.path.stat().st_size - self.whole


def line(record: Record) -> bytes:
    """Write a record as one line with its checksum."""
    body = orjson.dumps(record)  # two thousand probabilities a slate: json takes milliseconds
    return body + b"\t%08x\n" % zlib.crc32(body)


def _void(line_: bytes) -> bytes:
    """Return a line that takes the place of another one and tells of nothing."""
    body = b'{"kind":"%s"' % VOID.encode()
    body = body.ljust(len(line_) - len(b"\t00000000\n") - 1) + b"}"
    return body + b"\t%08x\n" % zlib.crc32(body)


def _voids(lines: bytes) -> bytes:
    return b"".join(map(_void, lines.splitlines(keepends=True)))


def on_disk(written: Future[None]) -> None:
    """Wait until records are on the disk.

    Raises
    ------
    OSError, TimeoutError
        If they cannot be written, or not in time: then they are not in the log, now or later.
    """
    try:
        written.result(COMMIT_S)
    except TimeoutError:
        if written.cancel():
            raise
        written.result()  # it was just being told


def read_segment(path: Path) -> Segment:
    """Read a segment up to the last whole line.

    Raises
    ------
    BrokenLog
        If a line that is not the last does not match its checksum: somebody changed it.
    """
    data, start = path.read_bytes(), 0
    records: list[Record] = []
    while (end := data.find(b"\n", start)) >= 0:
        record = record_in(data[start:end])
        if record is None:
            if data.find(b"\n", end + 1) < 0 and end + 1 == len(data):
                break  # the last one: its bytes were not all written
            raise BrokenLog(
                f"{path} is damaged in line {len(records) + 1}: bring it back from a backup, or "
                "move it away to serve without what it says"
            )
        records.append(record)
        start = end + 1
    return Segment(path, records, start)


def record_in(text: bytes) -> Record | None:
    """Read a line without its end; None if its checksum does not fit."""
    body, _, sum_ = text.rpartition(b"\t")
    if sum_ != b"%08x" % zlib.crc32(body):
        return None
    found: Record = orjson.loads(body)
    return found


def is_open(path: Path) -> bool:
    """Tell whether some process holds a file, as whoever writes a segment does."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def locked(path: Path) -> Iterator[IO[bytes] | None]:
    """Keep everybody from a segment; None if somebody writes it, or it is gone."""
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file


def mend(segment: Segment) -> int:
    """Cut off what a crash tore; return how many bytes that were."""
    if not segment.torn:
        return 0
    with locked(segment.path) as file:
        if file is None:  # half a line, which is being written
            return 0
        segment = read_segment(segment.path)
        torn = segment.torn
        file.truncate(segment.whole)
        os.fsync(file.fileno())
    return torn


def drop_empty(segment: Segment) -> None:
    """Remove a segment without records that nobody writes."""
    if segment.records:
        return
    with locked(segment.path) as file:
        if file is not None and not read_segment(segment.path).records:
            segment.path.unlink()


@dataclass(slots=True)
class Waiting:
    """Lines that are to be written, and who waits for them."""

    lines: bytes
    done: Future[None]
    start: int | None = None
    """Where they stand, while they are written and not known to be on the disk."""


class ServedLog:
    """The open segment of one process."""

    def __init__(self, path: Path) -> None:
        """Begin a new segment.

        Raises
        ------
        FileExistsError
            If there is one of this name.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = _begin(path)
        self._size = 0
        """Bytes that are on the disk."""
        self._waiting: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._failed: OSError | None = None
        self._hand = threading.Lock()
        """Of who writes over what was written."""
        self._thread = threading.Thread(target=self._write, name="served-log", daemon=True)
        self._thread.start()

    @property
    def failed(self) -> OSError | None:
        """Why nothing is written any more; None as long as all is well."""
        return self._failed

    def append(self, *records: Record) -> Future[None]:
        """Write records; the future is done when all of them are on the disk; see `on_disk`.

        It raises OSError if they cannot be written; nothing is written behind a failure.
        """
        one = Waiting(b"".join(map(line, records)), Future())
        one.done.add_done_callback(lambda _: self._given_up(one))
        self._waiting.put(one)
        return one.done

    def close(self) -> None:
        """Write what waits, and end the segment; one that nothing was written into goes."""
        if self._thread.is_alive():
            self._waiting.put(_STOP)
            self._thread.join()
        if not self._file.closed and not self._size:
            self.path.unlink(missing_ok=True)
        self._file.close()

    def _write(self) -> None:
        stopped = False
        while not stopped:
            batch, stopped = self._gather()
            if batch:
                self._commit(batch)

    def _gather(self) -> tuple[list[Waiting], bool]:
        batch = [self._waiting.get()]
        while not self._waiting.empty():
            batch.append(self._waiting.get())
        return [one for one in batch if one is not None], _STOP in batch

    def _commit(self, batch: list[Waiting]) -> None:
        batch = [one for one in batch if not one.done.cancelled()]
        try:
            if self._failed:
                raise self._failed
            self._write_out(batch)
        except OSError as error:
            self._fail(error, batch)
            return
        for one in batch:
            if one.done.set_running_or_notify_cancel():
                one.done.set_result(None)
            else:
                self._take_back(one)

    def _write_out(self, batch: list[Waiting]) -> None:
        lines = b"".join(one.lines for one in batch)
        left = memoryview(lines)
        while left:
            left = left[self._file.write(left) :]
        with self._hand:
            for one, behind in zip(batch, accumulate(len(one.lines) for one in batch), strict=True):
                one.start = self._size + behind - len(one.lines)
        for one in batch:
            self._given_up(one)  # while they were written
        with measures.SYNC_S.time():
            os.fsync(self._file.fileno())
        self._size += len(lines)

    def _fail(self, error: OSError, batch: list[Waiting]) -> None:
        """Write nothing any more: half of a batch could not be told apart from what came behind."""
        self._failed = error
        with self._hand, suppress(OSError):
            for one in batch:
                one.start = None
            os.ftruncate(self._file.fileno(), self._size)
        for one in batch:
            if one.done.set_running_or_notify_cancel():
                one.done.set_exception(error)

    def _given_up(self, one: Waiting) -> None:
        """Take back what somebody gave up while the sync goes on, which may be long.

        So a process that is killed meanwhile leaves none of it.  Whoever gives up waits no longer
        for that than a moment; it is done again, and synced, behind the sync.
        """
        if not one.done.cancelled() or not self._hand.acquire(timeout=_MOMENT_S):
            return
        try:
            if one.start is not None:
                with suppress(OSError):
                    os.pwrite(self._file.fileno(), _voids(one.lines), one.start)
        finally:
            self._hand.release()

    def _take_back(self, one: Waiting) -> None:
        """Make lines that somebody gave up tell of nothing, where they stand."""
        try:
            os.pwrite(self._file.fileno(), _voids(one.lines), cast(int, one.start))
            os.fsync(self._file.fileno())
        except OSError as error:
            self._failed = error


def _begin(path: Path) -> FileIO:
    """Open a new file that nobody sees before it is locked."""
    aside = path.with_name(f".{path.name}.new")
    file = aside.open("wb", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.link(aside, path)
    except OSError:
        file.close()
        raise
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)
    return file
