"""Start commands that never outlive the simulation."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from tessera.platform.simulate import guard
from tessera.platform.simulate.place import Place

_TESSERA = (sys.executable, "-m", "tessera")


class Guarded:
    """A command of tessera at work in the place of a simulation."""

    def __init__(self, place: Place, words: Sequence[str], log: Path, lock: IO[str]) -> None:
        """Start it; what it prints goes to a file, and it holds the place while it lives."""
        self._log = log
        handle = lock.fileno()
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", guard.__name__, *_TESSERA, *words],
                cwd=place.workspace.root,
                env=place.environment,
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                pass_fds=(handle,),
                start_new_session=True,  # what kills our group would kill the guard first
            )

    @property
    def has_ended(self) -> bool:
        """Tell whether it is gone."""
        return self._process.poll() is not None

    def wait(self) -> int:
        """Wait for its end; return its code."""
        return self._process.wait()

    def end(self) -> None:
        """Kill it, with all that it started."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def last_line(self) -> str:
        """Return what it said last, for a message."""
        lines = self._log.read_text(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
