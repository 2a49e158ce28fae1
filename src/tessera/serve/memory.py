"""Memory that a bundle or slates took and no longer need."""

from __future__ import annotations

import ctypes

import pyarrow as pa


def give_back_memory() -> None:
    """Return free pages to the system, which the allocator would keep: it takes milliseconds.

    Opening a million items leaves hundreds of megabytes of them, an hour of slates a hundred.
    """
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
    if trim is not None:
        trim(0)
