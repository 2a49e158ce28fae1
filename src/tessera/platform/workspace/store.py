"""Small files that several machines share: in a folder that all see, or in an object store.

A file is replaced whole.  Whoever has read one may replace it on the condition that nobody did
meanwhile: of two who try, one hears that it came too late.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tessera.contracts.errors import TesseraError
from tessera.contracts.library_errors import translate_errors
from tessera.platform.workspace import files

_GUARD = ".guard"
"""Held while a file is compared and replaced."""
_REMEDY = "look whether it is mounted, and what this user may do there"

LARGEST = 16 << 20
"""Bytes of a file that is read whole: whoever writes into a store fills no reader's memory."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file as it was read."""

    content: bytes
    tag: str
    """Of this content; another one has another tag."""


def require_small(where: object, size: int) -> None:
    """Refuse to read a file whole that is none of ours.

    Raises
    ------
    TesseraError
        If it is too large.
    """
    if size > LARGEST:
        raise TesseraError(f"{where} holds {size} bytes, and ours at most {LARGEST}: remove it")


class Store(Protocol):
    """Files by name; a name may have parts, `run/ingest.json`."""

    @property
    def address(self) -> str:
        """Where it is, in words that a person and DVC understand."""

    def below(self, part: str) -> Store:
        """Return what lies under a part of names."""

    def require(self) -> None:
        """Refuse a store that cannot be used here.

        Raises
        ------
        TesseraError
            One line that says what is missing.
        """

    def get(self, name: str) -> Stored | None:
        """Read a file; None if there is none.

        Raises
        ------
        TesseraError
            If it cannot be read, or is larger than what is read whole.
        """

    def put(self, name: str, content: bytes) -> None:
        """Write a file, in place of an older one."""

    def replace(self, name: str, content: bytes, seen: Stored | None) -> bool:
        """Write a file if it still is as it was seen, None if there was none; tell whether it was.

        One that came to have the content of before again counts as seen, so whoever may not be
        taken for another writes something that nobody else does.
        """

    def size(self, name: str) -> int | None:
        """Bytes of a file; None if there is none."""

    def upload(self, path: Path, name: str) -> None:
        """Write a file of any size from one on the disk; it is seen whole or not at all."""

    def download(self, name: str, path: Path) -> bool:
        """Write a file of any size to the disk; tell whether there is one."""

    def names(self) -> list[str]:
        """Name all files, in order."""

    def remove(self, name: str) -> None:
        """Let a file go, if it is there."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that every machine sees."""

    path: Path

    @property
    def address(self) -> str:
        """Path of the folder."""
        return str(self.path)

    def below(self, part: str) -> Folder:
        """Return a folder in it, which need not be there yet."""
        return Folder(self.path / part)

    def require(self) -> None:
        """Refuse a path where no file can be written.

        Raises
        ------
        TesseraError
            If it is such a one.
        """
        try:
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise TesseraError(
                f"{self.path} cannot be written ({error.strerror}): mount it on every worker, or "
                "unset it on a machine that works alone"
            ) from error

    def get(self, name: str) -> Stored | None:
        """Read a file; a link or a device that somebody put in its place is none."""
        path = self.path / name
        with translate_errors(TesseraError, f"cannot read {path}", _REMEDY):
            try:
                opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            with os.fdopen(opened, "rb") as file:
                if not stat.S_ISREG(os.fstat(opened).st_mode):
                    raise TesseraError(f"{path} is no file of ours: remove it")
                content = file.read(LARGEST + 1)
        require_small(path, len(content))
        return Stored(content, hashlib.sha256(content).hexdigest())

    def put(self, name: str, content: bytes) -> None:
        """Write a file, synced and renamed."""
        with translate_errors(TesseraError, f"cannot write {self.path / name}", _REMEDY):
            files.write_bytes(content, self.path / name)

    def replace(self, name: str, content: bytes, seen: Stored | None) -> bool:
        """Compare and write, while no other process does."""
        with self._alone():
            now = self.get(name)
            if (now.tag if now else None) != (seen.tag if seen else None):
                return False
            self.put(name, content)
        return True

    def size(self, name: str) -> int | None:
        """Look it up."""
        with translate_errors(TesseraError, f"cannot read {self.path / name}", _REMEDY):
            try:
                return (self.path / name).stat().st_size
            except FileNotFoundError:
                return None

    def upload(self, path: Path, name: str) -> None:
        """Copy it in, synced and renamed."""
        with translate_errors(TesseraError, f"cannot write {self.path / name}", _REMEDY):
            files.copy(path, self.path / name)

    def download(self, name: str, path: Path) -> bool:
        """Copy it out."""
        if (self.path / name).is_symlink() or not (self.path / name).is_file():
            return False
        with translate_errors(TesseraError, f"cannot read {self.path / name}", _REMEDY):
            files.copy(self.path / name, path)
        return True

    def names(self) -> list[str]:
        """Name all files but those that are hidden."""
        found = (path.relative_to(self.path) for path in self.path.rglob("*") if path.is_file())
        return sorted(
            one.as_posix() for one in found if not any(part.startswith(".") for part in one.parts)
        )

    def remove(self, name: str) -> None:
        """Remove a file, and the folder that it was the last one of."""
        path = self.path / name
        path.unlink(missing_ok=True)
        if path.parent != self.path:
            with suppress(OSError):  # there are others
                path.parent.rmdir()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        guard = self.path / _GUARD
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC  # a link would be written to
        with translate_errors(TesseraError, f"cannot write {guard}", _REMEDY):
            self.path.mkdir(parents=True, exist_ok=True)
            opened = os.open(guard, flags, 0o666)
        with os.fdopen(opened, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
