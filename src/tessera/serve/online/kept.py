"""Histories that the model has read, kept for the next request of the same investor.

They are nothing but speed: what is read on is what would be read whole, so any may go at any time.
"""

from __future__ import annotations

import threading

from cachetools import TTLCache

from tessera.model.trunk.settled import Settled

_AGE_S = 3600.0


class KeptHistories:
    """The histories read last, up to a size and an hour."""

    def __init__(self, most_mb: float, age_s: float = _AGE_S) -> None:
        """Keep at most so many megabytes, each for so many seconds."""
        self.most_bytes = most_mb * 2**20
        self._found: TTLCache[str, Settled] = TTLCache(
            self.most_bytes, age_s, getsizeof=lambda one: one.bytes
        )
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Keep nothing of anybody."""
        with self._lock:
            self._found.clear()

    def of(self, user_id: str) -> Settled | None:
        """Return what is kept of an investor."""
        with self._lock:
            return self._found.get(user_id)

    def keep(self, user_id: str, settled: Settled | None) -> None:
        """Keep what was read of an investor instead of what was kept; None keeps nothing of it."""
        if settled is None:
            with self._lock:
                self._found.pop(user_id, None)
        elif settled.bytes <= self.most_bytes:
            with self._lock:
                self._found[user_id] = settled
