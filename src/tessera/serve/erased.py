"""Who asked to be erased, known by keyed hashes alone, and under which name the log keeps them.

Two keys are at work.  The list's own lies in the list, so that whoever holds some ids can leave
out those that were erased.  The one of the pseudonyms lies beside the keys of the service: who has
a log and a list but not that key cannot tell whose pseudonym is whose.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from tessera.bundles.places import log_beside
from tessera.contracts.disk import sync_folder
from tessera.shared.erased import ERASED, NEVER, ErasedList, hashed

PSEUDONYM = "erased-"
"""How the name begins that the log keeps; who bears such a name is nobody."""
_KEY = "pseudonym.key"
_US = pa.timestamp("us", tz="UTC")


class Erased:
    """The list in a folder, read again when it changes."""

    def __init__(self, folder: Path) -> None:
        """Read it; without one nobody was erased."""
        self._folder = folder
        self._stamp: tuple[int, int] | None = None
        self._list = ErasedList()
        self._key = b""

    @classmethod
    def beside(cls, bundle: Path) -> Self:
        """Read the list that lies beside the log of what a bundle of a registry serves."""
        return cls(log_beside(bundle))

    def adopt(self, other: Erased) -> None:
        """Read the list that another one reads: a candidate lies in no registry yet."""
        self._folder, self._stamp = other._folder, None

    def until(self, user_id: str) -> int:
        """Return until when nothing of an investor is known; before all time if never asked for."""
        self._refresh()
        return self._list.until_of(user_id)

    def covers(self, user_id: str, moment: int) -> bool:
        """Tell whether what an investor did, or was shown, at a moment is nobody's any more."""
        return moment <= self.until(user_id)

    def pseudonym(self, user_id: str) -> str:
        """Return the name that the log keeps."""
        self._key = self._key or bytes.fromhex((self._folder / _KEY).read_text())
        return f"{PSEUDONYM}{hashed(self._key, user_id)[:32]}"

    def masked(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return a record of the log under the pseudonym, where it is of somebody erased."""
        user_id = record.get("user_id")
        if user_id is None or not self.covers(user_id, record["moment"]):
            return record
        return record | {"user_id": self.pseudonym(user_id)}

    @property
    def mark(self) -> str:
        """Tells two states of the list from each other; empty as long as there is none."""
        try:
            return hashlib.sha256((self._folder / ERASED).read_bytes()).hexdigest()
        except FileNotFoundError:
            return ""

    def add(self, user_id: str, moment: int) -> None:
        """Write down that whatever an investor did until a moment is nobody's any more."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with _alone(self._folder):
            if not (self._folder / _KEY).exists():
                _write(self._folder / _KEY, secrets.token_hex(32))
            self._refresh()
            key = self._list.key or secrets.token_bytes(32)
            latest = max(moment, self._list.until_of(user_id))
            until = self._list.until | {hashed(key, user_id): latest}
            told = {"key": key.hex(), "until": dict(sorted(until.items()))}
            _write(self._folder / ERASED, json.dumps(told, indent=2) + "\n")

    def _refresh(self) -> None:
        try:
            status = (self._folder / ERASED).stat()
        except FileNotFoundError:
            self._stamp, self._list = None, ErasedList()
            return
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp != self._stamp:
            self._list, self._stamp = ErasedList.read(self._folder), stamp


def masked_rows(rows: pa.Table, erased: Erased) -> pa.Table:
    """Return exposures or events with pseudonyms for those who were erased."""
    users = rows["user_id"].to_pylist()
    until = {user: erased.until(user) for user in set(users)}
    if all(one == NEVER for one in until.values()):
        return rows
    moments = pc.cast(pc.cast(rows["event_ts"], _US), pa.int64()).to_pylist()
    names = [
        erased.pseudonym(user) if moment <= until[user] else user
        for user, moment in zip(users, moments, strict=True)
    ]
    at = rows.schema.get_field_index("user_id")
    return rows.set_column(at, rows.schema.field(at), pa.array(names, pa.string()))


def without_erased(rows: pa.Table) -> pa.Table:
    """Return exposures or events without those of whoever was erased.

    Nobody may learn from them; and slates whose outcomes are forgotten would be judged as if nobody
    had cared for them.
    """
    return rows.filter(pc.invert(pc.starts_with(rows["user_id"], PSEUDONYM)))


def copy_list(folder: Path, target: Path) -> None:
    """Put the list beside tables, for whoever reads other files with these people in them."""
    if (folder / ERASED).exists():
        shutil.copyfile(folder / ERASED, target / ERASED)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / ".erased.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)
