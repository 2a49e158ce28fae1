"""Tell somebody else of an alarm over HTTP, signed, at most once.

`TESSERA_WEBHOOK` is the address, `TESSERA_WEBHOOK_SECRET` the key; both come from the environment
alone.  What could be told twice is rather not told: it is tried again only while nobody can have
taken it, that is before the request left, or where the answer says so (429 or 5xx).
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from tessera.contracts.errors import BadParams

ADDRESS, SECRET = "TESSERA_WEBHOOK", "TESSERA_WEBHOOK_SECRET"
SIGNATURE, NAME = "Tessera-Signature", "Tessera-Alarm"
_NEAR = ("127.0.0.1", "::1", "localhost")
_SHORTEST = 16
"""Letters of a secret."""
_WAIT_S = (1.0, 4.0, 16.0)
"""Before it is tried again."""
_PATIENCE_S = 10.0
_BUSY = 429
_TAKEN, _BROKEN = range(200, 300), range(500, 600)


@dataclass(frozen=True, slots=True)
class Answer:
    """How telling ended."""

    taken: bool | None
    """None if nobody knows: the request left and no answer came."""
    says: str
    tries: int

    @property
    def is_away(self) -> bool:
        """Nobody took it however often it was tried; a refusal is of this alarm alone."""
        return self.taken is False and self.tries > len(_WAIT_S)


class _NotTaken(Exception):
    """The receiver cannot have taken it: it may be told again."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where alarms are told, and by which key."""

    url: SplitResult
    secret: bytes

    def tell(self, name: str, facts: Mapping[str, Any]) -> Answer:
        """Post an alarm; whatever happens, it raises nothing."""
        body = json.dumps(facts).encode()
        for tries, wait_s in enumerate((*_WAIT_S, None), start=1):
            try:
                return Answer(*self._post(name, body), tries)
            except _NotTaken as error:
                said = str(error)
            if wait_s is not None:
                time.sleep(wait_s)
        return Answer(False, said, tries)

    def _post(self, name: str, body: bytes) -> tuple[bool | None, str]:
        connection = self._connection()
        try:
            try:
                connection.connect()
            except (OSError, UnicodeError) as error:  # the latter of a name that is none
                raise _NotTaken(f"cannot be reached ({error})") from error
            try:
                connection.request("POST", self._path(), body, self._headers(name, body))
                status = connection.getresponse().status
            except (OSError, http.client.HTTPException) as error:
                return None, f"no answer came ({type(error).__name__})"
        finally:
            connection.close()
        if status == _BUSY or status in _BROKEN:
            raise _NotTaken(f"answered {status}")
        return status in _TAKEN, f"answered {status}"

    def _headers(self, name: str, body: bytes) -> dict[str, str]:
        signed = signature(self.secret, int(time.time()), body)
        return {"Content-Type": "application/json", NAME: name, SIGNATURE: signed}

    def _connection(self) -> http.client.HTTPConnection:
        host, port = str(self.url.hostname), self.url.port
        if self.url.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=_PATIENCE_S, context=context)
        return http.client.HTTPConnection(host, port, timeout=_PATIENCE_S)

    def _path(self) -> str:
        return (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")


def signature(secret: bytes, moment_s: int, body: bytes) -> str:
    """Sign a body, with the moment so that an old message cannot be sent again unseen.

    >>> signature(b"0123456789abcdef", 0, b"{}")[:12]
    't=0,v1=67f76'
    """
    made = hmac.new(secret, f"{moment_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment_s},v1={made}"


def webhook() -> Webhook | None:
    """Return what the environment names, None if it names nothing.

    Raises
    ------
    BadParams
        If the address or the secret is not good enough.
    """
    address, secret = os.environ.get(ADDRESS), os.environ.get(SECRET, "")
    if not address:
        return None
    url = urlsplit(address)
    is_plain = address.isascii() and address.isprintable() and " " not in address
    if not (is_plain and url.hostname and "@" not in url.netloc and _is_safe(url)):
        raise BadParams(f"{ADDRESS} must be https://host/path, or http:// on this machine")
    if len(secret) < _SHORTEST:
        raise BadParams(f"{ADDRESS} is set: set {SECRET} too, to {_SHORTEST} letters at least")
    return Webhook(url, secret.encode())


def _is_safe(url: SplitResult) -> bool:
    try:
        is_near = url.hostname in _NEAR
        return url.port != 0 and (url.scheme == "https" or (url.scheme == "http" and is_near))
    except ValueError:  # a port that is no number
        return False
