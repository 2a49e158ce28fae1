"""Seals: what was written by an act or a run, and by nobody who cannot read the key.

The key lies in `registry/seal.key`, outside `data/`, made by the first act or run and open to its
owner alone.  A seal is an HMAC-SHA256 over what is sealed, which every command checks, and an
Ed25519 signature by a key derived from the same secret: whoever has `registry/seal.pub` checks it
without the secret.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tessera.contracts.errors import BrokenSeal
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import HISTORY, LINES, LOOKS, MIRROR_KEY, Workspace

KEY = "seal.key"
PUBLIC = "seal.pub"
FIELD = "seal"
"""Key under which a sealed document holds its seal."""
_BYTES = 32


def require_key(workspace: Workspace) -> None:
    """Make the key of a registry in which nothing was sealed yet.

    Raises
    ------
    BrokenSeal
        If acts or looks were sealed and their key is gone, or another one lies there: neither a new
        one nor that would open them.
    """
    path = workspace.state / KEY
    if path.exists():
        if is_pair(workspace) is False:
            raise BrokenSeal(
                f"registry/{KEY} does not belong to registry/{PUBLIC}: bring the former key back "
                "from a backup"
            )
        return
    if in_use(workspace) and not path.exists():  # or another process has just made it
        raise BrokenSeal(_gone(path))
    workspace.state.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{KEY}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(secrets.token_bytes(_BYTES))
        stream.flush()
        os.fsync(stream.fileno())
    with suppress(FileExistsError):  # another process was first
        os.link(aside, path)
    aside.unlink()
    write_public(workspace)


def in_use(workspace: Workspace) -> bool:
    """Whether there is a key, or something that was sealed with one."""
    known = workspace.state / KEY, workspace.state / f"{LOOKS}{LINES}"
    acts = workspace.state.glob(f"*/{HISTORY}{LINES}")
    return any(path.exists() for path in known) or any(acts)


def write_public(workspace: Workspace) -> None:
    """Write the public key, which follows from the secret one.

    Raises
    ------
    BrokenSeal
        If there is no key.
    """
    files.write_bytes(f"{_public(_key(workspace)).hex()}\n".encode(), workspace.state / PUBLIC)


def is_pair(workspace: Workspace) -> bool | None:
    """Whether the public key is of the secret one; None if it is gone or torn.

    Raises
    ------
    BrokenSeal
        If there is no key.
    """
    mine = _public(_key(workspace))
    try:
        told = public_key(workspace)
    except BrokenSeal:
        return None
    return told == mine if len(told) == len(mine) else None


def mac(workspace: Workspace, what: str, text: str) -> str:
    """Return the keyed MAC of a text, for one purpose alone."""
    return hmac.new(_key(workspace), f"{what}\0{text}".encode(), hashlib.sha256).hexdigest()


def seal(workspace: Workspace, what: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts with their seal.

    Parameters
    ----------
    workspace : Workspace
        The profile; its registry has a key.
    what : str
        Purpose, so that no seal can be moved to a document of another kind.
    facts : Mapping[str, Any]
        What JSON can hold.
    """
    text = _canonical(facts)
    made = {"mac": mac(workspace, what, text), "signature": _sign(_key(workspace), what, text)}
    return {**_bare(facts), FIELD: made}


def fault(workspace: Workspace, what: str, sealed: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a sealed document, in words that follow its name; None if nothing.

    Raises
    ------
    BrokenSeal
        If there is no key to check it with, or others may read it.
    """
    made = sealed.get(FIELD)
    if not isinstance(made, Mapping) or "mac" not in made:
        return "carries no seal"
    if hmac.compare_digest(
        str(made["mac"]).encode(errors="replace"), mac(workspace, what, _canonical(sealed)).encode()
    ):
        return None
    return "was changed after it was sealed, or sealed in another registry"


def signature_fault(public: bytes, what: str, sealed: Mapping[str, Any]) -> str | None:
    """Like `fault`, by the public key alone.

    Parameters
    ----------
    public : bytes
        Ed25519 public key, 32 bytes.
    what, sealed
        As `fault`.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        signature = bytes.fromhex(str(sealed[FIELD]["signature"]))
        Ed25519PublicKey.from_public_bytes(public).verify(
            signature, f"{what}\0{_canonical(sealed)}".encode()
        )
    except (KeyError, TypeError, ValueError):
        return "carries no signature"
    except InvalidSignature:
        return "was not signed by this key, or changed since"
    return None


def public_key(workspace: Workspace) -> bytes:
    """Return the public key of the registry.

    Raises
    ------
    BrokenSeal
        If there is none.
    """
    try:
        return bytes.fromhex((workspace.state / PUBLIC).read_text().strip())
    except (OSError, ValueError) as error:
        raise BrokenSeal(f"no readable registry/{PUBLIC}: bring it back from a backup") from error


def mirror_key() -> bytes:
    """Return the public key of the registry that a workspace is the mirror of.

    Raises
    ------
    BrokenSeal
        If what the environment says is none.
    """
    told = os.environ.get(MIRROR_KEY, "").strip()
    if not re.fullmatch(f"[0-9a-f]{{{2 * _BYTES}}}", told):
        raise BrokenSeal(
            f"{MIRROR_KEY} is no public key: set it to the {2 * _BYTES} letters of "
            f"registry/{PUBLIC} where what is published comes from"
        )
    return bytes.fromhex(told)


def _key(workspace: Workspace) -> bytes:
    path = workspace.state / KEY
    try:
        found = path.read_bytes()
    except OSError as error:
        raise BrokenSeal(_gone(path)) from error
    if path.stat().st_mode & 0o077:
        raise BrokenSeal(f"registry/{KEY} is open to others than its owner: chmod 600 it")
    if len(found) != _BYTES:
        raise BrokenSeal(f"registry/{KEY} is not a key of {_BYTES} bytes: bring it back")
    return found


def _gone(path: Path) -> str:
    return (
        f"registry/{path.name} is missing or cannot be read, and what is there was sealed with it: "
        "bring it back from a backup, or move registry/ away to begin anew"
    )


def _private(key: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(
        hmac.new(key, b"tessera ed25519", hashlib.sha256).digest()
    )


def _public(key: bytes) -> bytes:
    return bytes(_private(key).public_key().public_bytes_raw())


def _sign(key: bytes, what: str, text: str) -> str:
    return bytes(_private(key).sign(f"{what}\0{text}".encode())).hex()


def _bare(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if name != FIELD}


def _canonical(facts: Mapping[str, Any]) -> str:
    return json.dumps(_bare(facts), sort_keys=True, separators=(",", ":"))
