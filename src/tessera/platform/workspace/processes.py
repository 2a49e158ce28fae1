"""Start servers and stop them with everything they started, so that nothing is left behind."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

_GRACE_S = 10.0
_LAST_S = 3.0


def command(name: str) -> str:
    """Path of a command that is installed beside this Python."""
    return str(Path(sys.executable).parent / name)


def start(
    words: Sequence[str], environment: Mapping[str, str], log: Path, folder: Path
) -> subprocess.Popen[bytes]:
    """Start a server in its own process group, its output in a log file.

    Ctrl-C in the terminal then reaches this process alone, which stops the servers in order.
    """
    with log.open("ab") as stream:
        return subprocess.Popen(
            words,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def ends_with_us(words: Sequence[str]) -> list[str]:
    """Return the command that also ends where this process is killed outright; on Linux alone."""
    guard = shutil.which("setpriv")
    if guard is None or not Path(words[0]).exists():  # who starts it says what is not there
        return list(words)
    return [guard, "--pdeathsig", "TERM", "--", *words]


def stop(servers: Sequence[subprocess.Popen[Any]]) -> None:
    """Ask servers and all their descendants to end, and end by force what does not in time."""
    family = list(_family(servers))
    for process in family:
        with _gone_is_fine():
            process.terminate()
    _, alive = psutil.wait_procs(family, timeout=_GRACE_S)
    late = {*alive, *(child for process in alive for child in _children(process))}
    for process in late:
        with _gone_is_fine():
            process.kill()
    psutil.wait_procs(list(late), timeout=_LAST_S)
    for server in servers:
        server.wait()


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback interface."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stopped_like_ctrl_c() -> AbstractContextManager[None]:
    """Let a plain kill or a closed terminal stop the block as Ctrl-C does."""
    return _signals_handled(signal.default_int_handler)


def told_by_signal(stop: Callable[[], None]) -> AbstractContextManager[None]:
    """Let Ctrl-C, a plain kill or a closed terminal call `stop`, and the block end by itself."""
    return _signals_handled(lambda *_: stop())


def undisturbed() -> AbstractContextManager[None]:
    """Let no second Ctrl-C break the block, which is short."""
    return _signals_handled(signal.SIG_IGN)


@contextmanager
def _signals_handled(handler: Any) -> Iterator[None]:
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _family(servers: Sequence[subprocess.Popen[Any]]) -> Iterator[psutil.Process]:
    for server in servers:
        with _gone_is_fine():
            process = psutil.Process(server.pid)
            yield process
            yield from _children(process)


def _children(process: psutil.Process) -> list[psutil.Process]:
    with _gone_is_fine():
        return list(process.children(recursive=True))
    return []


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except psutil.NoSuchProcess:
        return
