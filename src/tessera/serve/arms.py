"""Which bundle answers whom: the published one, and a canary for a share of the investors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from tessera.serve.engine import Engine
from tessera.serve.shadow import Shadow

_SPAN = 1 << 64


def in_share(user_id: str, key: str, share: float) -> bool:
    """Tell whether an investor is among a share of all, by a keyed hash of the id.

    The same in every process and after every start; another key takes others.
    """
    digest = hashlib.blake2b(user_id.encode(), key=key.encode()[:64], digest_size=8).digest()
    return int.from_bytes(digest, "little") < share * _SPAN


@dataclass(frozen=True, slots=True)
class Canary:
    """A bundle that answers a share of the investors."""

    engine: Engine
    share: float

    def takes(self, user_id: str) -> bool:
        """Tell whether an investor is answered by it."""
        return in_share(user_id, self.engine.identity, self.share)


@dataclass(frozen=True, slots=True)
class Arms:
    """The bundles of one process; replaced as a whole, so that a request sees one state of it."""

    champion: Engine
    canary: Canary | None = None
    shadow: Shadow | None = None

    def of(self, user_id: str) -> Engine:
        """Return the bundle that answers an investor."""
        if self.canary is not None and self.canary.takes(user_id):
            return self.canary.engine
        return self.champion

    def engines(self) -> list[Engine]:
        """Return all bundles, each of which has to know what happened."""
        others = [one.engine for one in (self.canary, self.shadow) if one is not None]
        return [self.champion, *others]

    def told(self) -> dict[str, Any]:
        """Lay out for the log which canary there was, whichever arm an investor is in."""
        if self.canary is None:
            return {}
        engine = self.canary.engine
        return {
            "canary": engine.version,
            "canary_identity": engine.identity,
            "share": self.canary.share,
        }
