"""One serving process: the log of before is known again, the bundle follows the pointer."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tessera.contracts.errors import TesseraError
from tessera.serve.engine import Engine
from tessera.serve.hours import open_segments, records
from tessera.serve.log import OPEN, Segment, ServedLog, is_open, mend
from tessera.serve.params import ServeParams
from tessera.serve.service import Service

_LOG = logging.getLogger("tessera.serve")
_LOOK_S = 1.0
"""How often the pointer is read."""


@dataclass(frozen=True, slots=True)
class Started:
    """What a start found."""

    service: Service
    events: int
    """Events of the log that are known again."""
    torn: int
    """Bytes that a crash tore off the log."""


def start(bundle: Path, folder: Path, params: ServeParams) -> Started:
    """Open a bundle and the log beside it.

    Raises
    ------
    BrokenBundle, BrokenLog
        If the bundle cannot be served, or the log was changed.
    """
    before = [one for one in open_segments(folder) if not is_open(one.path)]
    torn = sum(mend(one) for one in before)
    service = Service(Engine.open(bundle, params), lambda: ServedLog(_fresh(folder)))
    events = service.restore(records(folder, events_only=True))
    _drop_empty(before)
    return Started(service, events, torn)


def _fresh(folder: Path) -> Path:
    """Name a segment so that names sort by time."""
    return folder / f"{time.time_ns():020d}-{os.getpid()}{OPEN}"


def _drop_empty(before: list[Segment]) -> None:
    for one in before:
        if not one.records:
            one.path.unlink()


class Follower:
    """Swaps the bundle when another one is published; one that cannot be served is refused."""

    def __init__(self, service: Service, current: Callable[[], Path], params: ServeParams) -> None:
        """Follow what `current` names, after checking it."""
        self._service, self._current, self._params = service, current, params
        self._refused: str | None = None
        """Version that cannot be served: opening it again would cost seconds and change nothing."""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self._thread.join()

    def look(self) -> bool:
        """Swap if something else is current; tell whether it was done."""
        try:
            bundle = self._current()
            if bundle.name in (self._service.engine.version, self._refused):
                return False
            engine = self._opened(bundle)
        except TesseraError as error:
            _LOG.error("%s stays: %s", self._service.engine.version, error)
            return False
        self._service.swap(engine)
        self._refused = None
        _LOG.info("%s is served", engine.version)
        return True

    def _opened(self, bundle: Path) -> Engine:
        self._refused = bundle.name
        engine = Engine.open(bundle, self._params)
        engine.warm_up()
        return engine

    def _follow(self) -> None:
        while not self._stopped.wait(_LOOK_S):
            try:
                self.look()
            except Exception:  # whatever it is, the old bundle goes on answering
                _LOG.exception("%s stays", self._service.engine.version)
