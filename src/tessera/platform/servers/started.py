"""Servers that were started here: each with its log, watched until all are stopped."""

from __future__ import annotations

import http.client
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tessera.contracts.errors import TesseraError
from tessera.contracts.library_errors import translate_errors
from tessera.platform.workspace import processes

_PATIENCE_S = 180.0
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Server:
    """A process of ours and where it writes its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


def start_server(
    name: str,
    words: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    into: list[Server],
) -> Server:
    """Start a command that is installed beside this Python; `into` holds it even if a later fails.

    Raises
    ------
    TesseraError
        If there is no such command.
    """
    log = folder / "logs" / f"{name}-{words[0]}.log"
    with translate_errors(TesseraError, f"{name} cannot be started", "run `make install`"):
        guarded = processes.ends_with_us([processes.command(name), *words])
        process = processes.start(guarded, environment, log, folder)
    into.append(Server(f"{name} {words[0]}", process, log))
    return into[-1]


def wait_until(ready: Callable[[], bool], started: Sequence[Server]) -> None:
    """Wait until servers answer.

    Raises
    ------
    TesseraError
        If one ended by itself, or they do not answer in time.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while not ready():
        require_alive(started)
        if time.monotonic() > deadline:
            raise TesseraError(f"not ready after {_PATIENCE_S:.0f} s: see {started[0].log.parent}")
        time.sleep(POLL_S)


def require_alive(started: Sequence[Server]) -> None:
    """Refuse to go on without a server.

    Raises
    ------
    TesseraError
        With the name of the one that ended, and its log.
    """
    for server in started:
        if server.process.poll() is not None:
            raise TesseraError(f"{server.name} ended by itself: see {server.log}")


def get(address: str) -> bytes | None:
    """Return what a server answers, None if it does not."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bytes(answer.read())
    except (OSError, urllib.error.URLError, http.client.HTTPException):
        return None
