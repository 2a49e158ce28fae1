"""What a process answered and turned away, written into the served log once a minute.

A slate or an event stands there itself; a request that failed or was turned away leaves nothing
else, and how long a slate waited for the disk is known only behind its line.  Nobody is named.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Mapping

from tessera.serve import measures
from tessera.serve.clock import Clock
from tessera.serve.events import COUNT, Record
from tessera.serve.service import Service

_LOG = logging.getLogger("tessera.serve")
_EVERY_S = 60.0


class Minutes:
    """Works beside a service; what cannot be written is written with the next minute."""

    def __init__(self, service: Service, clock: Clock) -> None:
        """Count from now on, by the clock of the service."""
        self._service, self._clock = service, clock
        self._before = measures.tally()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="minutes", daemon=True)

    def start(self) -> None:
        """Begin to count."""
        self._thread.start()

    def stop(self) -> None:
        """Write the last minute, and end it."""
        self._stopped.set()
        self._thread.join()

    def look(self) -> None:
        """Write what came since it was written last; nothing where nothing came.

        Raises
        ------
        OSError, TimeoutError
            If it cannot be written: it counts the next time.
        """
        now = measures.tally()
        more = {key: value - self._before.get(key, 0.0) for key, value in now.items()}
        more = {key: value for key, value in more.items() if value > 0}
        if more:
            self._service.note(count_record(more, self._clock.now()))
        self._before = now

    def _work(self) -> None:
        is_over = False
        while not is_over:
            is_over = self._stopped.wait(_EVERY_S)
            try:
                self.look()
            except (OSError, TimeoutError) as error:
                _LOG.error("what was answered in a minute is not logged yet: %s", error)


def count_record(tally: Mapping[tuple[str, str], float], moment: int) -> Record:
    """Lay out for the log how many requests there were, by what became of them."""
    told: dict[str, dict[str, float]] = {"requests": {}, "shed": {}, "log": {}}
    for (what, which), value in sorted(tally.items()):
        told[what][which] = round(value, 3)
    return {"kind": COUNT, "count_id": secrets.token_hex(8), "moment": moment, **told}
