"""Several processes behind one socket: all are started, the dead are replaced, all are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import typer
from prometheus_client.multiprocess import mark_process_dead

from tessera.contracts.errors import TesseraError
from tessera.platform.workspace import processes

_LOOK_S = 0.2
_PAUSE_S = 1.0
"""Before another one is started where one ended before it served."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A process, and what it said when it began to serve."""

    number: int
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    def hear(self) -> None:
        """Wait for its first line."""
        if self.process.stdout and (line := self.process.stdout.readline()):
            self.said.append(line.strip())


@dataclass(frozen=True, slots=True)
class Team:
    """Processes that share a listening socket."""

    words: Sequence[str]
    """Command of a worker."""
    order: str
    """Line that each is told; its standard input stays open as long as this process lives."""
    handle: int
    """Number of the socket."""
    rescue: Callable[[], None]
    """What is done when one died, before another one takes its place."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What they are told by it beside what this process is."""
    workers: list[Worker] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def start(self, count: int) -> str:
        """Start them, wait until all serve, and return what they say.

        Raises
        ------
        TesseraError
            If one ended before it served.
        """
        self.workers.extend(self._started(number + 1) for number in range(count))
        while not all(one.said for one in self.workers):
            for one in self.workers:
                if one.process.poll() is not None and not one.said:
                    raise TesseraError(f"worker {one.number} did not start: it said why")
            time.sleep(_LOOK_S)
        return self.workers[0].said[0]

    def watch(self) -> None:
        """Replace whoever ends, until it is stopped."""
        while not self.stopped.wait(_LOOK_S):
            for place, one in enumerate(self.workers):
                code = one.process.poll()
                if code is not None:
                    self.workers[place] = self._replaced(one, code)

    def stop(self) -> None:
        """End all of them."""
        self.stopped.set()
        processes.stop([one.process for one in self.workers])
        for one in self.workers:
            _close(one)

    def _replaced(self, one: Worker, code: int) -> Worker:
        _close(one)
        why = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        typer.echo(
            f"worker {one.number} (process {one.process.pid}) ended {why}: another one is started",
            err=True,
        )
        if not one.said:
            time.sleep(_PAUSE_S)
        if counted := self.environment.get("PROMETHEUS_MULTIPROC_DIR"):
            mark_process_dead(one.process.pid, counted)  # type: ignore[no-untyped-call]
        try:
            self.rescue()
        except TesseraError as error:
            typer.echo(f"what it logged last is brought later: {error}", err=True)
        return self._started(one.number)

    def _started(self, number: int) -> Worker:
        process = subprocess.Popen(
            self.words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
            pass_fds=(self.handle,),
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends the others
        )
        worker = Worker(number, process)
        threading.Thread(target=worker.hear, name=f"worker {number}", daemon=True).start()
        if process.stdin:
            with suppress(BrokenPipeError):  # it is dead already, as `watch` will see
                process.stdin.write(self.order)
                process.stdin.flush()
        return worker


def _close(one: Worker) -> None:
    for stream in (one.process.stdin, one.process.stdout):
        if stream:
            with suppress(BrokenPipeError):  # of a line that it never read
                stream.close()
