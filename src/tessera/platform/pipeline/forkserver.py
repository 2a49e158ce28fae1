"""One process that has imported what every stage needs, and forks itself for each of them.

Most of what a pipeline costs beyond its stages is Python importing the same libraries a dozen
times.  `with forkserver():` starts a process that imports them once, beside the first stages, on a
core that a stage of one thread leaves idle; from then on `tessera run STAGE` under dvc hands its
words, folder, environment and terminal to a fork of it and waits for the exit code.  Where no such
process can be reached (a plain `dvc repro`, a scheduler's task, a server not yet ready) the command
runs by itself, so nothing depends on it.

It listens on a Unix socket in a private folder and ends with its parent; a stage ends with the
command that asked for it, so that a killed command leaves nothing behind.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

from tessera.platform.workspace.catalogue import ALL_STAGES
from tessera.platform.workspace.code import import_closure

ADDRESS = "TESSERA_FORKSERVER"
"""Environment variable with the socket of the running process."""
WORD = "fork-server"
"""What `python -m tessera` is told to become that process; an address follows."""
_ROOMS = "rooms.json"
"""Modules of each stage, beside the socket: finding them starts threads, which may not fork."""
_LATE = {"tessera.model.trainer.loop": "torch._dynamo"}
"""What a module imports when it is first used: the first optimizer, for two seconds a fork."""
_TAKEN = b"+"
_PATIENCE_S = 5.0
"""A command that stops in the middle of its words must not hold up the others."""
_KILLED = 128 + signal.SIGKILL
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def forkserver() -> Iterator[None]:
    """Serve the commands started inside the block; inside another such block do nothing."""
    if os.environ.get(ADDRESS):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="tessera-") as folder:
        address = str(Path(folder) / "socket")
        (Path(folder) / _ROOMS).write_text(json.dumps(_rooms()))
        process = subprocess.Popen(
            [sys.executable, "-m", "tessera", WORD, address],
            stdin=subprocess.PIPE,
            env={**os.environ, **one_thread()},
            start_new_session=True,
        )
        os.environ[ADDRESS] = address
        try:
            yield
        finally:
            del os.environ[ADDRESS]
            process.kill()  # it holds nothing: every file a stage writes is renamed into place
            process.communicate()


def one_thread() -> dict[str, str]:
    """Environment of a stage: sums of floats depend on how many threads share them."""
    return dict.fromkeys(_THREADS, "1")


def delegate(words: list[str]) -> int | None:
    """Let a fork run this command line; return its exit code, None if nobody took it."""
    order = {"words": words, "folder": str(Path.cwd()), "environment": dict(os.environ)}
    with suppress(OSError), socket.socket(socket.AF_UNIX) as line:
        line.connect(os.environ.get(ADDRESS, ""))
        socket.send_fds(line, [b"+"], [0, 1, 2])
        line.sendall(json.dumps(order).encode() + b"\n")
        if line.recv(1) == _TAKEN:
            code = line.recv(4)
            return int(code) if code else _KILLED
    return None


def serve(address: str, prepare: Callable[[], None], main: Callable[[], None]) -> None:
    """Import when the first command asks, which runs by itself; fork for those after it.

    A run in which nothing changed asks for no stage and pays for no import.
    A command must wait for an import under way, so only what the next stage needs is imported while
    a fork works.

    Parameters
    ----------
    address : str
        Where the socket will be.
    prepare : callable
        Imports what every command needs.
    main : callable
        Reads the words of a command in `sys.argv` and runs it.
    """
    with _listen(address) as listener:
        if not _asked(listener):
            return
        with listener.accept()[0]:  # who asked is told only when nobody else can find the socket
            Path(address).unlink()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # let the system bury the children
    prepare()
    rooms = json.loads(Path(address).with_name(_ROOMS).read_text())
    _open(rooms, until=1)
    with _listen(address) as listener:
        while _asked(listener):
            line, _ = listener.accept()
            order, files = _read(line)
            if order and os.fork() == 0:
                listener.close()
                _work(line, order, files, main)
            for file in files:
                os.close(file)
            line.close()
            _open(rooms, until=1 + _number(rooms, order))


def _listen(address: str) -> socket.socket:
    """Open the socket; its address appears only once somebody listens behind it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{address}.new")
    listener.listen()
    Path(f"{address}.new").rename(address)
    return listener


def _asked(listener: socket.socket) -> bool:
    """Wait for a command; False once the parent, which holds our stdin, is gone."""
    ready, _, _ = select.select([listener, sys.stdin], [], [])
    return sys.stdin not in ready


def _rooms() -> dict[str, list[str]]:
    """Modules of each stage, in their order: an entry point imports some of its rooms late."""
    return {
        stage.name: [
            name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            for name in import_closure(stage.entry_point)
        ]
        for stage in ALL_STAGES
    }


def _open(rooms: dict[str, list[str]], until: int) -> None:
    for name in chain(*list(rooms.values())[: until + 1]):
        importlib.import_module(name)
        if name in _LATE:
            importlib.import_module(_LATE[name])
    gc.freeze()  # a fork that looked through all of it for garbage would copy it, too


def _number(rooms: dict[str, list[str]], order: dict[str, Any]) -> int:
    """Place of the stage that was asked for; -1 if nobody asked for one."""
    return next((i for i, name in enumerate(rooms) if name in order.get("words", ())), -1)


def _read(line: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return what is asked and the terminal's files; nothing from a command that is gone."""
    files: list[int] = []
    line.settimeout(_PATIENCE_S)
    try:
        _, files, _, _ = socket.recv_fds(line, 1, 3)
        order: dict[str, Any] = json.loads(line.makefile().readline() or "{}")
    except (OSError, ValueError):
        return {}, files
    line.settimeout(None)
    return order, files


def _work(
    line: socket.socket, order: dict[str, Any], files: list[int], main: Callable[[], None]
) -> None:
    """Run the command as if it had been started here, and end."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.argv = order["words"]
        line.sendall(_TAKEN)
        threading.Thread(target=_end_with, args=(line,), daemon=True).start()
        code = _run(main)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        with suppress(OSError):
            line.sendall(str(code).encode())
        os._exit(code)


def _run(main: Callable[[], None]) -> int:
    try:
        main()
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    return 0


def _end_with(line: socket.socket) -> None:
    line.recv(1)  # nothing comes: it returns when the command is gone
    os.kill(os.getpid(), signal.SIGKILL)
