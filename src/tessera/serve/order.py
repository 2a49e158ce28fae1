"""What the processes of one service are told when they are started."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import IO, Self


@dataclass(frozen=True, slots=True)
class Order:
    """What all processes of a service share; it is told by a pipe, since it holds a secret."""

    profile: str
    folder: str
    """Of the log."""
    keys: str
    """File of the keys."""
    kind: str
    """How the feed is kept."""
    handle: int
    """Number of the listening socket, which is inherited."""
    ahead_us: int
    """See `Clock`."""
    session_secret: str
    certificate: str = ""
    """File, where they stand behind TLS."""
    private_key: str = ""

    @classmethod
    def read(cls, stream: IO[str]) -> Self:
        """Read what `line` laid out."""
        return cls(**json.loads(stream.readline()))

    def line(self) -> str:
        """Lay it out on a line."""
        return json.dumps(asdict(self)) + "\n"
