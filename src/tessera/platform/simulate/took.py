"""How long the parts of a simulation took, added up over kills."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from tessera.platform.simulate.place import Place

_NAME = "took.jsonl"


@contextmanager
def timed(place: Place, what: str) -> Iterator[None]:
    """Write down how long something took, if it came to its end."""
    begun = time.monotonic()
    yield
    line = json.dumps([what, round(time.monotonic() - begun, 3)])
    with (place.played / _NAME).open("a") as file:
        file.write(line + "\n")


def took(place: Place) -> dict[str, float]:
    """Return seconds of each part; a line that a kill tore does not count."""
    path = place.played / _NAME
    found: dict[str, float] = defaultdict(float)
    for line in path.read_text().splitlines(keepends=True) if path.exists() else ():
        if line.endswith("\n"):
            what, seconds = json.loads(line)
            found[what] += seconds
    return {what: round(seconds, 1) for what, seconds in found.items()}
