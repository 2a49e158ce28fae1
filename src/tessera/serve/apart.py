"""Hours that are over are sealed in a process of their own.

An hour of slates takes gigabytes and minutes of an interpreter on its way to tables: the one that
answers would give none of it back, and let everybody wait.  Whatever ends the process, the segments
stay as they are.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tessera.contracts.errors import TesseraError
from tessera.serve.closed import closed_segments, seal_closed
from tessera.serve.erased import Erased
from tessera.serve.erasing import mask_sealed
from tessera.serve.hours import sealed_hours

_LOG = logging.getLogger("tessera.serve")
_NICE = 10
"""Whoever answers goes first."""


class Apart:
    """Seals the hours of one folder, one process at a time."""

    def __init__(self, folder: Path) -> None:
        """Seal in this folder."""
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._stopped = False

    def seal(
        self,
        now_ns: int | None = None,
        meanwhile: Callable[[], None] = lambda: None,
        every_s: float = 20.0,
    ) -> list[Path]:
        """Seal what is over, and mask who was erased; return the new folders.

        Nothing is started where nothing is to be done.  As long as it takes, which may be minutes,
        `meanwhile` is called every so many seconds.
        """
        now_ns = time.time_ns() if now_ns is None else now_ns
        if not self._is_due(now_ns):
            return []
        words = [sys.executable, "-m", __name__, str(self._folder), str(now_ns)]
        with self._lock:
            if self._stopped:
                return []
            self._process = process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True,
            )  # fmt: skip
        while True:
            try:
                told, wrong = process.communicate(timeout=every_s)
                break
            except subprocess.TimeoutExpired:
                meanwhile()
        if process.returncode and not self._stopped:
            _LOG.error("the log is not sealed: %s", wrong.strip() or process.returncode)
        return [Path(one) for one in told.splitlines()]

    def stop(self) -> None:
        """End what is under way; the next sealing does it again."""
        with self._lock:
            self._stopped = True
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()

    def _is_due(self, now_ns: int) -> bool:
        if closed_segments(self._folder, now_ns):
            return True
        mark = Erased(self._folder).mark
        return bool(mark) and any(one.erased != mark for one in sealed_hours(self._folder))


def main() -> None:
    """Seal the folder that is named, as of a moment in nanoseconds; say what was made."""
    os.nice(_NICE)
    folder, now_ns = Path(sys.argv[1]), int(sys.argv[2])
    try:
        for path in seal_closed(folder, now_ns):
            print(path)  # noqa: T201
        mask_sealed(folder)
    except (TesseraError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
