"""Who may ask what: keys with a role, stored as hashes, read again when their file changes.

A key is 32 random bytes, so that a plain hash of it is as good as a slow one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tessera.contracts.disk import sync_folder
from tessera.contracts.errors import BadParams

_LOG = logging.getLogger("tessera.serve")
Role = Literal["recommend", "feedback", "prices", "investors", "viewer", "operator"]
ROLES: dict[Role, frozenset[str]] = {
    "recommend": frozenset({"recommend"}),
    "feedback": frozenset({"feedback"}),
    "prices": frozenset({"price"}),
    "investors": frozenset({"classify"}),
    "viewer": frozenset({"view"}),
    "operator": frozenset({"recommend", "feedback", "price", "classify", "view", "operate"}),
}
"""What each role may do."""
_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
"""It stands in the server's log."""
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


def hashed(secret: str) -> str:
    """Return what is stored of a key."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key."""

    name: str
    role: Role
    sha256: str

    @property
    def mark(self) -> str:
        """What a session remembers of it: another key of the same name has another one."""
        return hashed(self.sha256)[:32]


class Keys:
    """The keys of a service."""

    def __init__(self, path: Path) -> None:
        """Read them from a file, which others may change at any time."""
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._keys: list[Key] = []

    def find(self, secret: str) -> Key | None:
        """Return a key, None for one that is unknown; as slow for each."""
        given = hashed(secret)
        return self._match(lambda key: hmac.compare_digest(key.sha256, given))

    def marked(self, mark: str) -> Key | None:
        """Return the key that a session was begun with, None if it ended."""
        return self._match(lambda key: hmac.compare_digest(key.mark.encode(), mark.encode()))

    def _match(self, is_it: Callable[[Key], bool]) -> Key | None:
        self._refresh()
        found = None
        for key in self._keys:
            if is_it(key):  # all of them are looked at, whichever it is
                found = key
        return found

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._keys, self._stamp = [], None
            return
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._keys = _read(self._path)
            except BadParams as error:
                _LOG.error("%s; the keys of before stay", error)


def _read(path: Path) -> list[Key]:
    """Read a file of keys.

    Raises
    ------
    BadParams
        If it is none; one line that says where.
    """
    try:
        rows = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadParams(f"{path} cannot be read as a list of keys ({error})") from error
    if not isinstance(rows, dict):
        raise BadParams(f"{path} is no list of keys: it must name each")
    return [_key(path, name, row) for name, row in rows.items()]


def _key(path: Path, name: str, row: Any) -> Key:
    told = row if isinstance(row, dict) else {}
    role, digest = told.get("role"), told.get("sha256")
    if not isinstance(role, str) or role not in ROLES:
        raise BadParams(f"{path}: key {name!r} has role {role!r}, not one of {', '.join(ROLES)}")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise BadParams(f"{path}: key {name!r} has no SHA-256 of 64 hex digits")
    return Key(name, role, digest)


def add_key(path: Path, name: str, role: str) -> str:
    """Make a key, store its hash under a name, and return it: it is shown this once.

    A name that is there gets another key, so that the old one ends.
    """
    if not _NAME.fullmatch(name):
        raise BadParams(f"a key cannot be named {name!r}: take letters, digits, `-`, `_` and `.`")
    if role not in ROLES:
        raise BadParams(f"unknown role {role!r}; known: {', '.join(ROLES)}")
    secret = secrets.token_urlsafe(32)
    known = _read(path) if path.exists() else []
    rows = {one.name: {"role": one.role, "sha256": one.sha256} for one in known}
    rows[name] = {"role": role, "sha256": hashed(secret)}
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(json.dumps(rows, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)
    return secret
