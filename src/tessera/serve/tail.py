"""What others append to the served log, read on from where one was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tessera.serve.events import EVENTLESS, Record
from tessera.serve.log import OPEN, locked, record_in

_LONG = tuple(f'{{"kind":"{kind}",'.encode() for kind in EVENTLESS)
"""How the lines begin that tell of no events, nearly all of them long."""


class Tail:
    """Reads each record of the log that tells of events once; of `every` also the others."""

    def __init__(self, folder: Path, *, every: bool = False) -> None:
        """Start before all of it."""
        self._folder, self._every = folder, every
        self._read: dict[Path, int] = {}

    def skip(self) -> None:
        """Go on behind what lies there now."""
        self._read = {}
        for path in self._folder.glob(f"*{OPEN}"):
            with suppress(FileNotFoundError):  # it was sealed since it was listed
                self._read[path] = path.stat().st_size

    def news(self, *, ended: bool = False) -> Iterator[Record]:
        """Read what was appended since; if asked, only to segments that nobody writes any more."""
        for path in sorted(self._folder.glob(f"*{OPEN}")):
            if not ended or _is_ended(path):
                yield from self._news(path)

    def _news(self, path: Path) -> Iterator[Record]:
        for line in self._whole_lines(path):
            if self._every or not line.startswith(_LONG):
                record = record_in(line[:-1])
                if record is None:
                    return
                yield record
            self._read[path] += len(line)

    def _whole_lines(self, path: Path) -> Iterator[bytes]:
        start = self._read.setdefault(path, 0)
        try:
            file = path.open("rb")
        except FileNotFoundError:  # it was sealed, or empty, since it was listed
            return
        with file:
            if start:  # a line may have been half written when it was skipped
                file.seek(start - 1)
                self._read[path] += len(file.readline()) - 1
            for line in file:
                if not line.endswith(b"\n"):
                    return
                yield line


def _is_ended(path: Path) -> bool:
    with locked(path) as file:
        return file is not None
