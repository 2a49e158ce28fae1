"""Events from a folder of partition files, in the model of Kafka, with no server.

A partition is a file that only grows, `<partition>.log`; a message is a line of it: microseconds
since 1970, a tab, and the body.  Each partition is read by one consumer of the group at a time, and
the group's offset in it, before which all is done, is on the disk before `done` returns.  Whoever
joins or leaves makes all consumers share out the partitions anew.  What a consumer had read and not
done is delivered again, to whoever reads the partition next.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tessera.contracts.disk import sync_folder
from tessera.serve.consume import MOST_BYTES, Message, Stream, StreamLost
from tessera.serve.log import is_open

ENDING = ".log"
_GROUP = "tessera"
_DIGITS = 18
"""Of a moment; Python refuses to read numbers of some thousand."""
_LONGEST = 2 * MOST_BYTES
"""Bytes of a line that are kept in memory."""
_LOOK_S = 0.05
"""How often files are looked at for more."""


def open_stream(name: str, consumer: str) -> Stream:
    """Open a folder as one of the consumers of its group."""
    return FileStream(Path(name), consumer)


def send(folder: Path, partition: str, *bodies: bytes, moment: int | None = None) -> None:
    """Put messages, which have no line ends, behind those of a partition, for good."""
    came = time.time_ns() // 1000 if moment is None else moment
    with _kept(folder / f"{partition}{ENDING}", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b"".join(b"%d\t%s\n" % (came, one) for one in bodies))
        file.flush()
        os.fsync(file.fileno())


@dataclass(slots=True)
class _Owned:
    """A partition that this consumer reads."""

    lock: IO[bytes]
    place: int
    """Behind what was delivered."""
    waiting: dict[str, int] = field(default_factory=dict)
    """What was delivered and is not done: where each message begins, in their order."""

    @property
    def offset(self) -> int:
        """Before which all is done."""
        return next(iter(self.waiting.values()), self.place)


class FileStream:
    """See `Stream`."""

    def __init__(self, folder: Path, consumer: str) -> None:
        self._folder, self._consumer = folder, consumer
        self._group = folder / f".{_GROUP}"
        self._member: IO[bytes] | None = None
        self._owned: dict[str, _Owned] = {}

    def read(self, most: int, patience_s: float) -> Sequence[Message]:
        """See `Stream`."""
        end = time.monotonic() + patience_s
        while True:
            with self._reached():
                self._share_out()
                found: list[Message] = []
                for name, owned in self._owned.items():
                    found += self._new(name, owned, most - len(found))
            left_s = end - time.monotonic()
            if found or left_s <= 0:
                return found
            time.sleep(min(_LOOK_S, left_s))

    def done(self, messages: Sequence[Message]) -> None:
        """See `Stream`; what another consumer reads now is left to it."""
        with self._reached():
            moved: set[str] = set()
            for one in messages:
                name = one.place.rpartition("@")[0]
                if name in self._owned and one.place in self._owned[name].waiting:
                    del self._owned[name].waiting[one.place]
                    moved.add(name)
            for name in sorted(moved):
                self._commit(name, self._owned[name].offset)

    def aside(self, message: Message, reason: str) -> None:
        """See `Stream`."""
        told = {
            "place": message.place,
            "reason": reason,
            "body": message.body.decode(errors="surrogateescape"),
        }
        with self._reached(), _kept(self._group / "aside.jsonl", "ab") as file:
            file.write(json.dumps(told).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """See `Stream`."""
        for name in list(self._owned):
            self._let_go(name)
        if self._member is not None:
            self._member.close()
        self._member = None

    def _share_out(self) -> None:
        """Read each partition that falls to this consumer, and no other.

        One that falls to it now may be read still by whoever had it: then it is asked for again.
        """
        if not self._folder.is_dir():
            raise FileNotFoundError(f"{self._folder} is no folder")
        members = self._members()
        partitions = sorted(one.stem for one in self._folder.glob(f"[!.]*{ENDING}"))
        mine = set(partitions[members.index(self._consumer) :: len(members)])
        for name in [one for one in self._owned if one not in mine]:
            self._let_go(name)
        for name in sorted(mine - self._owned.keys()):
            lock = _locked(self._group / f"{name}.lock")
            if lock is not None:
                self._owned[name] = _Owned(lock, self._committed(name))

    def _members(self) -> list[str]:
        """Return the consumers that live; each holds a lock on a file of its own."""
        folder = self._group / "members"
        if self._member is None:
            folder.mkdir(parents=True, exist_ok=True)
            self._member = _locked(folder / self._consumer)
            if self._member is None:
                raise OSError(f"another consumer {self._consumer} lives: give each a name")
        found = {one.name for one in folder.iterdir() if is_open(one)}
        return sorted(found | {self._consumer})

    def _new(self, name: str, owned: _Owned, most: int) -> Iterator[Message]:
        with (self._folder / f"{name}{ENDING}").open("rb") as file:
            if owned.place > os.fstat(file.fileno()).st_size:
                raise ValueError(f"{file.name} was cut below what is done: bring it back")
            file.seek(owned.place)
            for _ in range(most):
                line, size = _line(file)
                if not size:
                    return
                place = f"{name}@{owned.place}"
                owned.waiting[place] = owned.place
                owned.place += size
                yield _message(place, line.removesuffix(b"\n"))

    def _committed(self, name: str) -> int:
        try:
            return int((self._group / f"{name}.offset").read_text())
        except FileNotFoundError:
            return 0

    def _commit(self, name: str, offset: int) -> None:
        aside = self._group / f".{name}.offset"
        with aside.open("w") as file:
            file.write(f"{offset}\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._group / f"{name}.offset")
        sync_folder(self._group)

    def _let_go(self, name: str) -> None:
        self._owned.pop(name).lock.close()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            self.close()  # what was delivered and is not done comes again
            raise StreamLost(f"stream {self._folder}: {error}") from error


def _line(file: IO[bytes]) -> tuple[bytes, int]:
    """Read a line, of one that is too long to be taken in the beginning; return its length too.

    The length of one that is still being written is 0.
    """
    line = part = file.readline(_LONGEST)
    size = len(line)
    while part and not part.endswith(b"\n"):
        part = file.readline(_LONGEST)
        size += len(part)
    return line, size if part else 0


def _message(place: str, line: bytes) -> Message:
    came, tab, body = line.partition(b"\t")
    if not tab or not came.isdigit() or len(came) > _DIGITS:
        return Message(place, b"no microseconds and tab before: " + line, 0)
    return Message(place, body, int(came))


@contextmanager
def _kept(path: Path, mode: str) -> Iterator[IO[bytes]]:
    """Open a file whose name is on the disk too."""
    is_new = not path.exists()
    with path.open(mode) as file:
        if is_new:
            sync_folder(path.parent)
        yield file


def _locked(path: Path) -> IO[bytes] | None:
    """Hold a lock, which ends with the process; None if somebody else holds it."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
