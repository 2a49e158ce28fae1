"""Begins a segment each hour, seals the hours that are over, and gives free memory back."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from tessera.serve.apart import Apart
from tessera.serve.closed import same_hour
from tessera.serve.erased import Erased
from tessera.serve.hours import began
from tessera.serve.memory import give_back_memory
from tessera.serve.service import Service

_LOG = logging.getLogger("tessera.serve")
_LOOK_S = 20.0
"""How often the clock is looked at."""
_SEGMENT_BYTES = 32 * 2**20
"""A segment that is as long is followed by another one: each is read at once."""


class Sealer:
    """Works beside a service; whatever goes wrong, the segments stay as they are."""

    def __init__(self, service: Service, folder: Path) -> None:
        """Seal what the service logs into a folder."""
        self._service, self._folder = service, folder
        self._erased, self._mark = Erased(folder), ""
        self._apart = Apart(folder)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sealer", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stopped.set()
        self._apart.stop()
        self._thread.join()

    def look(self, now_ns: int | None = None) -> list[Path]:
        """Roll if the hour is over or the segment long, and seal what is over; return what is new.

        It is done in a process of its own: see `Apart`.
        """
        now_ns = time.time_ns() if now_ns is None else now_ns
        self._roll(now_ns)
        begun = time.monotonic_ns()
        made = self._apart.seal(
            now_ns, lambda: self._keep_up(now_ns + time.monotonic_ns() - begun), _LOOK_S
        )
        self._forget()
        return made

    def _roll(self, now_ns: int) -> None:
        path = self._service.log.path
        if not same_hour(began(path), now_ns) or path.stat().st_size >= _SEGMENT_BYTES:
            self._service.roll()

    def _keep_up(self, now_ns: int) -> None:
        """Do what must not wait for a sealing, which may take minutes."""
        self._roll(now_ns)
        self._forget()
        give_back_memory()

    def _forget(self) -> None:
        """Know nothing any more of whoever was erased since the last look, by whichever process."""
        mark = self._erased.mark
        if mark != self._mark:
            self._service.drop_erased()
            self._mark = mark

    def _work(self) -> None:
        while True:
            try:
                for path in self.look():
                    _LOG.info("%s is sealed", path.name)
            except Exception:  # the log itself goes on
                _LOG.exception("the log is not sealed")
            give_back_memory()
            if self._stopped.wait(_LOOK_S):
                return
