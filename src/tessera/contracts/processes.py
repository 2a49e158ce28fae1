"""Which process this is, where torchrun started several for one stage."""

from __future__ import annotations

import os


def started() -> int:
    """Return how many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def local_number() -> int:
    """Return which of the processes on this machine this one is."""
    return int(os.environ.get("LOCAL_RANK") or 0)


def is_helper() -> bool:
    """Whether another process writes what this one computes too."""
    return started() > 1 and int(os.environ.get("RANK") or 0) > 0
