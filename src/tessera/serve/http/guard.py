"""Routes ask for a key that may do what they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Header

from tessera.serve.http.keys import ROLES, Keys
from tessera.serve.http.problems import Refused

_SCHEME = "bearer "


def may(keys: Keys, what: str) -> Callable[[str | None], None]:
    """Return a dependency that lets only keys pass whose role may do this."""

    def require(authorization: Annotated[str | None, Header()] = None) -> None:
        given = authorization or ""
        if not given.lower().startswith(_SCHEME):
            raise Refused(401, "No key", "send `Authorization: Bearer KEY`")
        role = keys.role(given[len(_SCHEME) :].strip())
        if role is None:
            raise Refused(401, "Unknown key", "this key opens nothing here")
        if what not in ROLES[role]:
            raise Refused(403, "Not allowed", f"a key of role {role} may not {what}")

    return require
