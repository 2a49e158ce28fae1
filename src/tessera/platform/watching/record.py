"""`alarms.jsonl`: every alarm, who was told, what was done and what is snoozed, chained for ever.

A line is written down under a seal before it is appended (`alarms.next.json`), so that a crash
between line and head is completed and a line that somebody else wrote is not.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tessera.contracts.errors import BrokenHistory
from tessera.platform.release import seals
from tessera.platform.release.chain import NOTHING, Chain, digest, parsed
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace

NAME = "alarms"
_NEXT = "alarms.next.json"
_PURPOSE = "alarm"
Entry = Mapping[str, Any]


class Record:
    """The lines of a profile, for whoever may add to them."""

    def __init__(self, workspace: Workspace) -> None:
        """Read them; only inside `one_record`."""
        self._workspace, self._chain = workspace, chain(workspace)
        self.entries: list[dict[str, Any]] = self._chain.entries()
        """Oldest first."""

    def add(self, facts: Entry) -> None:
        """Append a line, on the disk when this returns."""
        line = self._chain.next_line(facts)
        intent = seals.seal(self._workspace, _PURPOSE, {"line": line})
        files.write_json(intent, self._workspace.watched / _NEXT)
        _finish(self._workspace, line)
        self.entries.append(parsed(line))

    def of(self, alarm: str, *kinds: str) -> list[dict[str, Any]]:
        """Return what was written of an alarm, of some kinds."""
        return [one for one in self.entries if one.get("id") == alarm and one["kind"] in kinds]


def chain(workspace: Workspace) -> Chain:
    """Return the alarms of a profile as a chain."""
    return Chain(workspace, workspace.watched, NAME)


def entries(workspace: Workspace) -> list[dict[str, Any]]:
    """Return all lines for whoever only reads, oldest first."""
    return chain(workspace).entries()


@contextmanager
def one_record(workspace: Workspace) -> Iterator[Record]:
    """Let one process at a time add lines, to a record that is whole.

    Raises
    ------
    BrokenHistory
        If it is not what was written.
    BrokenSeal
        If the key of the registry is gone.
    """
    workspace.watched.mkdir(parents=True, exist_ok=True)
    seals.require_key(workspace)
    with (workspace.watched / ".alarms.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _complete(workspace)
        require_whole(workspace)
        yield Record(workspace)


def require_whole(workspace: Workspace) -> None:
    """Refuse a record that somebody changed.

    Raises
    ------
    BrokenHistory
        If there is anything wrong with it.
    """
    found = chain(workspace).fault()
    if found:
        where = f"registry/{workspace.profile}/watched"
        raise BrokenHistory(
            f"the record of alarms of profile {workspace.profile} is {found}; nothing is raised or "
            f"done: bring {where}/{NAME}.* back from a backup, or move them away to begin anew"
        )


def _complete(workspace: Workspace) -> None:
    path = workspace.watched / _NEXT
    if not path.exists():
        return
    intent = files.read_json(path)
    wrong = seals.fault(workspace, _PURPOSE, intent)
    if wrong:
        raise BrokenHistory(f"{path} {wrong}: move it away")
    line = str(intent["line"])
    if chain(workspace).fault(line) is None and _comes_next(workspace, line):
        _finish(workspace, line)
    files.remove(path)


def _comes_next(workspace: Workspace, line: str) -> bool:
    """Whether a line follows the newest, or is it already without its head."""
    lines = chain(workspace).lines()
    follows = digest(lines[-1]) if lines else NOTHING
    return line in lines[-1:] or parsed(line).get("previous") == follows


def _finish(workspace: Workspace, line: str) -> None:
    chain(workspace).append(line)
    files.remove(workspace.watched / _NEXT)
