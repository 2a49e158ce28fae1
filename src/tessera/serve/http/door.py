"""What every request passes before it is read: its size, its key, its sender's rate, admission."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from starlette.types import Scope

from tessera.serve.http.admission import Admission, Rates
from tessera.serve.http.keys import Key, Keys
from tessera.serve.http.problems import Refused
from tessera.serve.params import ServeParams

MOST_HEADER_BYTES = 16_384
"""Path, query and headers of a request."""
_SCHEME = b"bearer "
_ALWAYS = frozenset({"/healthz", "/readyz"})
"""Answered however busy it is: who asks would else end a process that only has much to do."""
_APART = frozenset({"/metrics"})
"""Not counted among the requests whose time is foretold."""
_FORWARDED = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via"})
"""Say that a proxy sends for somebody else."""
_TOO_LONG = Refused(
    431, "Header too large", f"path and headers may have {MOST_HEADER_BYTES} bytes at most"
)


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a request."""

    key: Key | None
    """None for a key that is unknown, or if there is none."""
    has_key: bool
    """Whether a key was sent, whatever it opens."""
    is_near: bool
    """Whether the request came from this machine, and for nobody else."""


@dataclass(frozen=True, slots=True)
class Door:
    """The door of one process."""

    keys: Keys
    rates: Rates
    admission: Admission

    @classmethod
    def of(cls, keys: Keys, params: ServeParams) -> Door:
        """Build it as the params say."""
        return cls(
            keys,
            Rates(params.rate_per_s, params.burst),
            Admission(params.in_flight, params.deadline_ms / 1000),
        )

    def sender(self, scope: Scope) -> Sender:
        """Return who sends a request.

        Raises
        ------
        Refused
            If its headers are too large.
        """
        given, near = b"", _is_near(scope)
        size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        for name, value in scope["headers"]:
            size += len(name) + len(value)
            if name == b"authorization" and not given:
                given = value
            near = near and name not in _FORWARDED
        if size > MOST_HEADER_BYTES:
            raise _TOO_LONG
        has_key = given.lower().startswith(_SCHEME)
        secret = given[len(_SCHEME) :].strip().decode("latin-1") if has_key else ""
        return Sender(self.keys.find(secret) if has_key else None, has_key, near)

    def is_watched(self, scope: Scope) -> bool:
        """Tell whether a request counts among those that may be too many."""
        return scope["path"] not in _ALWAYS | _APART

    def limit(self, scope: Scope, sender: Sender) -> None:
        """Turn a request away that is one too many.

        Raises
        ------
        Refused
            With status 429.
        """
        if scope["path"] in _ALWAYS:
            return
        who = f"key {sender.key.name}" if sender.key else f"from {_host(scope)}"
        self.rates.take(who)
        if self.is_watched(scope):
            self.admission.check()


def _host(scope: Scope) -> str:
    return str(scope["client"][0]) if scope.get("client") else ""


def _is_near(scope: Scope) -> bool:
    try:
        return ipaddress.ip_address(_host(scope)).is_loopback
    except ValueError:
        return False
