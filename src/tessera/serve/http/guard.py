"""Routes ask for a key that may do what they do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from weakref import WeakKeyDictionary

from fastapi import Request, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from tessera.serve.http.door import Sender
from tessera.serve.http.keys import ROLES, Role
from tessera.serve.http.problems import Refused

_BEARER = HTTPBearer(auto_error=False, scheme_name="key", description="`tessera key` makes one.")
"""For OpenAPI; the key itself was read at the door."""
_ASKED: WeakKeyDictionary[Callable[..., Any], str] = WeakKeyDictionary()
"""What each of the dependencies lets do."""
Documented = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


def may(what: str, open_near: bool = False) -> Callable[[Request, Documented], Awaitable[None]]:
    """Return a dependency that lets only keys pass whose role may do this.

    `open_near` lets requests of this machine pass without any.
    """

    # One that does not wait would cost each request a thread of its own.
    async def require(request: Request, _key: Documented) -> None:
        sender: Sender = request.state.sender
        if open_near and sender.is_near and not sender.has_key:
            return
        if not sender.has_key:
            raise Refused(401, "No key", "send `Authorization: Bearer KEY`")
        if sender.key is None:
            raise Refused(401, "Unknown key", "this key opens nothing here")
        role = sender.key.role
        if what not in ROLES[role]:
            needed = " or ".join(one for one, may in ROLES.items() if what in may)
            raise Refused(
                403, "Not allowed", f"this needs a key of role {needed}, yours is of role {role}"
            )

    _ASKED[require] = what
    return require


def roles_of(route: APIRoute) -> list[Role] | None:
    """Return the roles that a route is for; None if it asks for no key."""
    calls = (one.call for one in route.dependant.dependencies)
    asked = [_ASKED[call] for call in calls if call is not None and call in _ASKED]
    return [role for role, may in ROLES.items() if set(asked) <= may] if asked else None
