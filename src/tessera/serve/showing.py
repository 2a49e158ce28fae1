"""What the other processes of a service showed, as the log says it before it leaves.

A segment stays open here until it was read to its end, also if it was sealed and removed meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tessera.serve.events import SLATE, Record
from tessera.serve.hours import sealed_hours, still
from tessera.serve.log import OPEN, record_in
from tessera.serve.online.shown import Exposures, logged_slate

_KIND = f'{{"kind":"{SLATE}",'
_BEGINS = _KIND.encode()


class Showing:
    """Reads each slate of the log once, but for those of this process."""

    def __init__(self, folder: Path) -> None:
        """Read nothing yet."""
        self._folder = folder
        self._left: set[Path] = set()
        self._files: dict[Path, IO[bytes]] = {}
        self._lock = threading.Lock()

    def begin(self, exposures: Exposures) -> None:
        """Let all that was shown before be known."""
        with still(self._folder):
            for hour in sealed_hours(self._folder):
                self._left |= {self._folder / name for name in hour.segments}
                exposures.restore(map(logged_slate, hour.records(beginning=_KIND)))
            self.tell(exposures)

    def leave(self, path: Path) -> None:
        """Never read a segment, which this process is about to write."""
        self._left.add(path)

    def tell(self, exposures: Exposures) -> None:
        """Let what was shown since be known."""
        with self._lock:
            exposures.restore(map(logged_slate, self._news()))

    def close(self) -> None:
        """Let go of the segments."""
        with self._lock:
            for path in list(self._files):
                self._files.pop(path).close()

    def _news(self) -> Iterator[Record]:
        there = set(self._folder.glob(f"*{OPEN}")) - self._left
        for path in sorted(there - self._files.keys()):
            try:
                self._files[path] = path.open("rb")
            except FileNotFoundError:  # it was empty, or is sealed and was left in the first look
                continue
        for path, file in sorted(self._files.items()):
            yield from _slates(file)
            if path not in there:
                self._files.pop(path).close()


def _slates(file: IO[bytes]) -> Iterator[Record]:
    """Read on to the last whole line."""
    while True:
        place = file.tell()
        line = file.readline()
        if not line.endswith(b"\n"):
            file.seek(place)
            return
        if line.startswith(_BEGINS):
            record = record_in(line[:-1])
            if record is None:  # its bytes are not all there yet
                file.seek(place)
                return
            yield record
