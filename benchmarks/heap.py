"""What a process holds that no file can give back."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_EACH_S = 0.02
"""Time between two looks: what is held for less may be missed."""


class Heap:
    """The most anonymous memory that this process held inside the block, in MB."""

    def __init__(self) -> None:
        self.before_mb = self.peak_mb = _anonymous_mb()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._watch.join()

    def _look(self) -> None:
        """Look again and again until it is over."""
        while not self._over.wait(_EACH_S):
            self.peak_mb = max(self.peak_mb, _anonymous_mb())


def _anonymous_mb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    kb = next(line.split()[1] for line in lines if line.startswith("RssAnon"))
    return round(int(kb) / 1024)
