"""One process that knows Great Expectations, so that its long import is paid once and in parallel.

`with validator() as check:` starts it while the stage computes and ends it with the block; inside
an outer block (such as the one of a whole pipeline run) the one already running is used.  It holds
a Unix socket in a private folder, speaks JSON lines, and ends by itself when its parent is gone.
Where it cannot be reached, tables are checked in this process instead.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tessera.contracts.errors import InvalidTable

_ADDRESS = "TESSERA_VALIDATOR"
"""Environment variable with the socket of the running validator."""

Validate = Callable[[Mapping[str, Path], Path, Path], None]


@contextmanager
def validator() -> Iterator[Validate]:
    """Yield a function like `validation.validate_all`, which raises `InvalidTable` as it does."""
    if os.environ.get(_ADDRESS):
        _wake()
        yield _validate
        return
    with tempfile.TemporaryDirectory(prefix="tessera-") as folder:
        address = str(Path(folder) / "socket")
        process = _start(address)
        os.environ[_ADDRESS] = address
        try:
            yield _validate
        finally:
            del os.environ[_ADDRESS]
            process.kill()  # it holds nothing: every file it writes is renamed into place
            process.communicate()


def _start(address: str) -> subprocess.Popen[bytes]:
    """Listen first, so that nobody has to wait for the import before asking."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen()
        return subprocess.Popen(
            [sys.executable, "-m", "tessera.pipeline.validator", str(door.fileno())],
            stdin=subprocess.PIPE,
            pass_fds=[door.fileno()],
            start_new_session=True,
        )


def _wake() -> None:
    """Let the validator import while the stage computes; a run with nothing to do never asks."""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as line:
        line.connect(os.environ[_ADDRESS])
        line.sendall(b"null\n")


def _validate(paths: Mapping[str, Path], suites: Path, results: Path) -> None:
    request = {
        "paths": {table: str(path.absolute()) for table, path in paths.items()},
        "suites": str(suites.absolute()),
        "results": str(results.absolute()),
    }
    answer = _ask(request)
    if answer is None:
        answer = _answer(request)
    if answer["invalid"]:
        raise InvalidTable(answer["invalid"])


def _ask(request: dict[str, Any]) -> dict[str, Any] | None:
    """Return the validator's answer, None if it is not there or ended in between."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(os.environ[_ADDRESS])
            line.sendall(json.dumps(request).encode() + b"\n")
            found: dict[str, Any] = json.loads(line.makefile().readline())
            return found
    except (OSError, ValueError):
        return None


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    from tessera.pipeline.validation import validate_all

    paths = {table: Path(path) for table, path in request["paths"].items()}
    try:
        validate_all(paths, Path(request["suites"]), Path(request["results"]))
    except InvalidTable as error:
        return {"invalid": str(error)}
    return {"invalid": None}


def _serve(door: socket.socket) -> None:
    """Answer one request after the other; a broken one ends only its own connection."""
    while True:
        line, _ = door.accept()
        with line:
            try:
                import tessera.pipeline.validation  # noqa: F401  once somebody is there

                request = json.loads(line.makefile().readline())
                if request is None:
                    continue
                line.sendall(json.dumps(_answer(request)).encode() + b"\n")
            except Exception as error:
                sys.stderr.write(f"validator: {error!r}\n")


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _serve(socket.socket(fileno=int(sys.argv[1])))
