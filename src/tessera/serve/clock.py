"""What time it is for the service: the wall clock, or for a simulated market a clock of its own."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TOLD = "clock.told"
_BYTES = 8


def wall() -> int:
    """Return microseconds since 1970."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Clock:
    """The wall clock, moved by a fixed span."""

    ahead_us: int = 0
    """Microseconds that are added to the wall clock; a market of the past needs a negative span."""
    source: Callable[[], int] = wall

    def now(self) -> int:
        """Return microseconds since 1970."""
        return self.source() + self.ahead_us


class ToldClock:
    """A clock that stands until another process moves it: eight bytes of a file that both map."""

    def __init__(self, folder: Path) -> None:
        """Read the clock that lies beside a served log; see `is_told`."""
        with (folder / _TOLD).open("r+b") as file:
            self._moment = mmap.mmap(file.fileno(), _BYTES)

    @classmethod
    def begin(cls, folder: Path, now: int) -> Self:
        """Set up a clock beside a served log, and set it."""
        handle = os.open(folder / _TOLD, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(handle, _BYTES)
        finally:
            os.close(handle)
        clock = cls(folder)
        clock.move(now)
        return clock

    def __call__(self) -> int:
        """Return microseconds since 1970."""
        return int.from_bytes(self._moment[:_BYTES], "little")

    def move(self, now: int) -> None:
        """Set it."""
        self._moment[:_BYTES] = now.to_bytes(_BYTES, "little")


def is_told(folder: Path) -> bool:
    """Tell whether the clock beside a served log is one that another process moves."""
    return (folder / _TOLD).exists()
