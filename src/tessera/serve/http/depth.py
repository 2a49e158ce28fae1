"""How deep and how wide a JSON body may be, told from its bytes before it is parsed."""

from __future__ import annotations

import re

from tessera.serve.http.bodies import MOST_EVENTS
from tessera.serve.http.problems import Refused

MOST_DEPTH = 16
"""Objects and lists in one another."""
MOST_CONTAINERS = 4 * MOST_EVENTS
"""Objects and lists in one body."""
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""A string, or what is left of one: it always matches, so that time grows with length alone."""
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


def check_depth(body: bytes) -> None:
    """Refuse what would cost more to parse than any request can need.

    Raises
    ------
    Refused
        With status 422.
    """
    opened = body.count(b"[") + body.count(b"{")
    if opened <= MOST_DEPTH:
        return
    brackets = _TEXT.sub(b"", body).translate(None, _OTHERS)
    if brackets.count(b"[") + brackets.count(b"{") > MOST_CONTAINERS:
        raise Refused(
            422, "Invalid request", f"a body may hold {MOST_CONTAINERS} objects and lists at most"
        )
    depth = 0
    for one in brackets:
        depth += 1 if one in b"[{" else -1
        if depth > MOST_DEPTH:
            raise Refused(422, "Invalid request", f"a body may be {MOST_DEPTH} deep at most")
