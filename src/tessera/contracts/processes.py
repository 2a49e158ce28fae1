"""Which process this is, where torchrun started several for one stage."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path


def started() -> int:
    """Return how many processes torchrun started, on all machines; 1 without it."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def local_number() -> int:
    """Return which of the processes on this machine this one is."""
    return int(os.environ.get("LOCAL_RANK") or 0)


def machine() -> str:
    """Name this machine, with its number by torchrun."""
    return f"machine {os.environ.get('GROUP_RANK') or 0} ({socket.gethostname()})"


def is_helper() -> bool:
    """Whether another process writes what this one computes too."""
    return started() > 1 and int(os.environ.get("RANK") or 0) > 0


def sources() -> str:
    """Return the beginning of a hash of all our code, by which two machines know each other."""
    digest, root = hashlib.sha256(), Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]
