"""The running service as its investors meet it: over HTTP, with a key and in the market's days."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from tessera.contracts.errors import TesseraError
from tessera.platform.simulate.guarded import Guarded
from tessera.platform.simulate.place import Place
from tessera.platform.workspace.processes import free_port
from tessera.serve.clock import ToldClock
from tessera.serve.http.bodies import MOST_EVENTS
from tessera.serve.http.keys import add_key

Json = dict[str, Any]
_PATIENCE_S = 180.0
_REST_S = 2.0
"""A server closes a line on which nothing comes; what is sent at that moment is lost."""
_OK = 200


class Service:
    """A service of one process, and its clock."""

    def __init__(self, command: Guarded, port: int, key: str, clock: ToldClock) -> None:
        """Speak to whoever listens at a port."""
        self.clock = clock
        self._command, self._port = command, port
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._line = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
        self._used = time.monotonic()

    def recommend(self, user_id: str) -> Json:
        """Ask for a slate."""
        return self._ask("/v1/recommendations", {"investor_id": user_id})

    def happened(self, events: Sequence[Json]) -> None:
        """Tell what investors did."""
        for first in range(0, len(events), MOST_EVENTS):
            self._ask("/v1/events", {"events": events[first : first + MOST_EVENTS]})

    def priced(self, closes: Sequence[Json]) -> None:
        """Tell closes."""
        for first in range(0, len(closes), MOST_EVENTS):
            self._ask("/v1/closes", {"closes": closes[first : first + MOST_EVENTS]})

    def classed(self, investors: Sequence[Json]) -> None:
        """Tell what investors are classed as."""
        for first in range(0, len(investors), MOST_EVENTS):
            self._ask("/v1/investors", {"investors": investors[first : first + MOST_EVENTS]})

    def version(self) -> Json:
        """Say what is served."""
        return self._ask("/v1/version")

    def wait_for(self, version: str, *, explores: bool) -> str | None:
        """Wait until a version answers, by draws or not; return why not, if it was refused."""
        end = time.monotonic() + _PATIENCE_S
        while True:
            told = self.version()
            if told["version"] == version and told["explores"] == explores:
                return None
            if told["refused"] and told["refused"]["version"] == version:
                return str(told["refused"]["reason"])
            if time.monotonic() > end:
                return "it was not taken up in time"
            time.sleep(0.1)

    def wait_until_ready(self) -> None:
        """Wait until it answers.

        Raises
        ------
        TesseraError
            If it ended instead.
        """
        end = time.monotonic() + _PATIENCE_S
        while not self._answers():
            if self._command.has_ended or time.monotonic() > end:
                raise TesseraError(f"the service did not start: {self._command.last_line()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1.0):
                pass
            self._ask("/readyz")
        except (OSError, http.client.HTTPException):
            self._line.close()
            return False
        return True

    def _ask(self, path: str, body: Json | None = None) -> Json:
        if time.monotonic() > self._used + _REST_S:
            self._line.close()  # the next request opens another one
        text = None if body is None else json.dumps(body)
        self._line.request("GET" if body is None else "POST", path, text, self._headers)
        answer = self._line.getresponse()
        said = answer.read()
        self._used = time.monotonic()
        if answer.status != _OK:
            raise TesseraError(f"the service answers {path} with {answer.status}: {said.decode()}")
        found: Json = json.loads(said)
        return found

    def close(self) -> None:
        """End the line, and the service."""
        self._line.close()
        self._command.end()


@contextmanager
def serving(place: Place, lock: IO[str], now_us: int) -> Iterator[Service]:
    """Start `tessera serve` with a clock that is told, and end it with the block."""
    served = place.workspace.served
    served.mkdir(parents=True, exist_ok=True)
    clock = ToldClock.begin(served, now_us)
    key = add_key(served / "keys.json", "simulation", "operator")
    port = free_port()
    words = ["serve", "--port", str(port)]
    command = Guarded(place, words, place.played / "serve.log", lock)
    service = Service(command, port, key, clock)
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.close()
