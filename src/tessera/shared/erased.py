"""The list of those who asked to be erased: keyed hashes, each with a moment.

The key lies in the list, so that whoever holds ids can leave out those that were erased, and nobody
reads an id off it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

ERASED = "erased.json"
"""Name of its file, beside a served log."""
NEVER = -(1 << 63)
"""Before all time."""


@dataclass(frozen=True, slots=True)
class ErasedList:
    """Whom nobody may know, and of what time."""

    key: bytes = b""
    until: dict[str, int] = field(default_factory=dict)
    """By hash, in microseconds since 1970: what an investor did until then is nobody's any more."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read it from a folder; without one nobody was erased."""
        path = folder / ERASED
        if not path.exists():
            return cls()
        told = json.loads(path.read_text())
        return cls(bytes.fromhex(told["key"]), told["until"])

    def until_of(self, user_id: str) -> int:
        """Return until when nothing of an investor may be known; NEVER if all may."""
        return self.until.get(hashed(self.key, user_id), NEVER) if self.until else NEVER


def hashed(key: bytes, user_id: str) -> str:
    """Return a keyed hash of an id.

    >>> hashed(b"k", "u1")[:8] == hashed(b"k", "u1")[:8] != hashed(b"other", "u1")[:8]
    True
    """
    return hmac.new(key, user_id.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()
