"""Run a command that ends with whoever started it, however that ends: `python -m ... guard WORDS`.

Standard input is the thread by which the two hang together: when it is closed, the command and all
that it started in its group are killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress


def main() -> int:
    """Run the words of the command line; return the code of the command."""
    command = subprocess.Popen(
        sys.argv[1:],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        close_fds=False,  # it holds the place of the simulation too
    )
    threading.Thread(target=_end_with_parent, args=(command.pid,), daemon=True).start()
    return command.wait()


def _end_with_parent(group: int) -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    raise SystemExit(main())
