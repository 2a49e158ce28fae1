"""A file that is only ever appended to: each line holds the hash of the one before.

`<name>.jsonl` holds the lines, `<name>.head.json` how many there are and the hash of the newest,
which no line comes after, under a MAC.  Whoever changes, removes, inserts or cuts off a line is
found out, and so is whoever writes all of it anew without the key.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from tessera.contracts.errors import BrokenHistory
from tessera.platform.release import seals
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import LINES, Workspace

NOTHING = "0" * 64
"""What the first line holds as the hash of the line before."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Lines of one kind, in one folder."""

    workspace: Workspace
    folder: Path
    name: str

    @property
    def file(self) -> Path:
        """Where the lines lie."""
        return self.folder / f"{self.name}{LINES}"

    @property
    def head_file(self) -> Path:
        """Where number and hash of the newest line lie."""
        return self.folder / f"{self.name}.head.json"

    def entries(self) -> list[dict[str, Any]]:
        """Every line so far, oldest first; one that cannot be read is an empty entry."""
        return [parsed(line) for line in self.lines()]

    def lines(self) -> list[str]:
        """Return the whole lines, without their ends."""
        if not self.file.exists():
            return []
        text = self.file.read_bytes().decode(errors="replace")
        # A line without its end was cut off by a crash: it is written again.
        return text.split("\n")[:-1]

    def head(self) -> dict[str, Any]:
        """Return number and hash of the newest line, as they were written with it."""
        if self.head_file.exists():
            return read_state(self.head_file)
        return {"entries": 0, "sha256": NOTHING}

    def next_line(self, facts: Mapping[str, Any]) -> str:
        """Return the line that would be written now, without its end."""
        lines = self.lines()
        entry = {
            "n": len(lines) + 1,
            "previous": digest(lines[-1]) if lines else NOTHING,
            "at": now(),
            "who": _who(),
            **facts,
        }
        return json.dumps(entry)

    def append(self, line: str) -> None:
        """Write a line, once: one that is the newest already is not written again."""
        lines = self.lines()
        if not lines or lines[-1] != line:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.file.open("ab+") as stream:
                _drop_torn_line(stream)
                stream.write(line.encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
        self.write_head(line)

    def write_head(self, line: str) -> None:
        """Write down the newest line's number and hash, under a MAC."""
        newest = {"entries": parsed(line)["n"], "sha256": digest(line)}
        files.write_json({**newest, "mac": self._mac(newest)}, self.head_file)

    def fault(self, pending: str | None = None) -> str | None:
        """Verify the chain; return what is wrong with it and where, None if it is whole.

        Parameters
        ----------
        pending : str or None
            Line of an interrupted act, which may or may not stand there yet.
        """
        lines = self.lines()
        if lines and "previous" not in parsed(lines[0]) and not self.head_file.exists():
            return "of an older format without hashes"
        before = NOTHING
        for number, line in enumerate(lines, start=1):
            entry = parsed(line)
            if entry.get("n") != number:
                return f"broken at entry {number}: it is not the one that was written there"
            if entry.get("previous") != before:
                told = f"entry {number} holds another hash of it"
                return f"broken at entry {max(number - 1, 1)}: {told}"
            before = digest(line)
        return self._fault_at_the_end(lines, pending) or self._fault_of_the_head()

    def _fault_at_the_end(self, lines: list[str], pending: str | None) -> str | None:
        written = self.head()
        told = (int(written["entries"]), str(written["sha256"]))
        found = (len(lines), digest(lines[-1]) if lines else NOTHING)
        if pending and lines and lines[-1] == pending and told != found:
            found = (len(lines) - 1, str(parsed(pending)["previous"]))
        if told == found:
            return None
        if told[0] > found[0]:
            return f"broken at entry {found[0] + 1}: it is missing"
        if told[0] < found[0]:
            return f"broken at entry {told[0] + 1}: no act wrote it"
        return f"broken at entry {found[0]}: {self.head_file.name} holds another hash of it"

    def _fault_of_the_head(self) -> str | None:
        if not self.head_file.exists():
            return None
        written = self.head()
        if "mac" not in written:
            return "of an older format without a seal"
        if written["mac"] == self._mac(written):
            return None
        return f"broken at its end: {self.head_file.name} was not sealed in this registry"

    def _mac(self, head: Mapping[str, Any]) -> str:
        where = self.folder.relative_to(self.workspace.state).as_posix()
        text = f"{head['entries']} {head['sha256']}"
        return seals.mac(self.workspace, f"head {where}/{self.name}", text)


def read_state(path: Path) -> dict[str, Any]:
    """Read one of the small files that say what is published.

    Raises
    ------
    BrokenHistory
        If it is no JSON.
    """
    try:
        return dict(files.read_json(path))
    except ValueError as error:
        raise BrokenHistory(f"{path} cannot be read: bring it back from a backup") from error


def now() -> str:
    """Return the moment in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def parsed(line: str) -> dict[str, Any]:
    """Read a line; one that is no JSON object is empty."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def digest(line: str) -> str:
    """Hash a line."""
    return hashlib.sha256(line.encode()).hexdigest()


def _drop_torn_line(stream: BinaryIO) -> None:
    stream.seek(0)
    whole = stream.read().rfind(b"\n") + 1
    stream.truncate(whole)


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for its user
        return f"uid {os.getuid()}"
