"""What a process holds: its own memory, which no file can give back, and pages of files."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_EACH_S = 0.02
"""Time between two looks: what is held for less may be missed."""
_FIELDS = {"whole": "VmRSS", "own": "RssAnon", "mapped": "RssFile", "peak": "VmHWM"}


def memory_mb(pid: int | None = None) -> dict[str, float]:
    """Return the resident memory of a process, by default this one.

    It is `own` and `mapped` (of files, which others share), both as `whole`, and the most that
    `whole` was as `peak`.  Of a process that is over all are 0.
    """
    path = Path("/proc", "self" if pid is None else str(pid), "status")
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
    return {
        name: round(int(lines[field].split()[0]) / 1024, 1) if field in lines else 0.0
        for name, field in _FIELDS.items()
    }


def alone(work: Callable[..., Any], *given: Any) -> Any:
    """Call in a process of its own, so that its memory is its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *given).result()


class Heap:
    """The most anonymous memory that this process held inside the block, in MB."""

    def __init__(self) -> None:
        self.before_mb = self.peak_mb = _own_mb()
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
            self.peak_mb = max(self.peak_mb, _own_mb())


def _own_mb() -> int:
    return round(memory_mb()["own"])
