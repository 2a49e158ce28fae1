"""Mend what a kill in the middle of dvc's writing leaves: dvc rewrites its files in place.

Without a readable `dvc.lock` dvc refuses every further run.  A copy of the last whole one lies in
`data/<profile>/`, beside what it tells of, so that only the stage that was interrupted runs again.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tessera.platform.tracking import databases
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace, profile_names

_KEPT = ".dvc.lock"
_SCHEMA = "2.0"


def keep(workspace: Workspace) -> None:
    """Keep a copy of the profile's `dvc.lock` if it is whole and has changed."""
    lock, kept = lock_file(workspace), workspace.data / _KEPT
    if not lock.exists():
        return
    text = lock.read_bytes()
    if (kept.exists() and kept.read_bytes() == text) or not is_whole(text):
        return
    files.write_bytes(text, kept)


def faults(root: Path) -> list[str]:
    """Return what of dvc's files in a repository is torn, a line each with what will be done."""
    torn = [f"{_near(workspace)} is damaged: {_told(workspace)}" for workspace in _torn(root)]
    path = _rwlock(root)
    return (
        [*torn, f"{path.relative_to(root)} is damaged: it is removed"]
        if _is_torn_json(path)
        else torn
    )


def repair(root: Path) -> list[str]:
    """Mend what is torn, of every profile, since dvc reads them all; return a line for each.

    The last whole `dvc.lock` comes back; where there is none, it goes and every stage runs again.
    """
    if not faults(root):
        return []
    with at_rest(root):  # what looked torn may have been in the middle of being written
        told = faults(root)
        for workspace in _torn(root):
            kept, lock = workspace.data / _KEPT, lock_file(workspace)
            if kept.exists():
                files.write_bytes(kept.read_bytes(), lock)
            else:
                files.remove(lock)
        if _is_torn_json(_rwlock(root)):
            files.remove(_rwlock(root))
    return told


def repair_state(root: Path) -> list[str]:
    """Remove torn databases in which dvc remembers hashes, which it then computes again.

    They lie outside the repository, where dvc alone knows: it is asked after a failure only.
    """
    if not (root / ".dvc").is_dir():
        return []
    asked = "from dvc.repo import Repo; print(Repo('.').site_cache_dir)"
    words = [sys.executable, "-c", asked]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        return []
    torn = [path for path in Path(done.stdout.strip()).rglob("*.db") if databases.fault(path)]
    for path in torn:
        databases.set_aside(path)
    return [f"{path} of dvc was damaged: its hashes are computed again" for path in torn]


def entries(workspace: Workspace) -> dict[str, Any]:
    """Return what dvc.lock says of each stage by its name; nothing before the first run."""
    path = lock_file(workspace)
    found = files.parse_yaml(path.read_bytes()) if path.exists() else {}
    return dict(found.get("stages", {}))


def put_entries(workspace: Workspace, new: Mapping[str, Any]) -> None:
    """Let dvc.lock say this of these stages; what it says of others stays."""
    with at_rest(workspace.root):
        before = entries(workspace)
        after = {**before, **new}
        if after != before:
            text = yaml.safe_dump({"schema": _SCHEMA, "stages": after}, sort_keys=False)
            files.write_bytes(text.encode(), lock_file(workspace))
    keep(workspace)


def is_whole(text: bytes) -> bool:
    r"""Whether dvc can read the text of a `dvc.lock`.

    >>> is_whole(b"schema: '2.0'\n"), is_whole(b"schema: '2"), is_whole(b"")
    (True, False, False)
    """
    try:
        found = files.parse_yaml(text)
    except (yaml.YAMLError, ValueError):
        return False
    if not isinstance(found, dict) or found.get("schema") != _SCHEMA:
        return False
    stages = found.get("stages", {})
    return isinstance(stages, dict) and all(map(is_entry, stages.values()))


def is_entry(stage: Any) -> bool:
    """Whether dvc.lock has the command of a stage, and path and hash of every file.

    Params may be anything.
    """
    if not isinstance(stage, Mapping) or not isinstance(stage.get("cmd"), (str, list)):
        return False
    named = [stage.get(side, []) for side in ("deps", "outs")]
    return (
        all(isinstance(side, list) and all(map(_is_file, side)) for side in named)
        and isinstance(stage.get("params", {}), Mapping)
        and all(isinstance(one, Mapping) for one in stage.get("params", {}).values())
    )


def _is_file(entry: Any) -> bool:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("path"), str):
        return False
    texts = all(isinstance(entry.get(name, ""), str) for name in ("hash", "md5"))
    return texts and all(isinstance(entry.get(name, 0), int) for name in ("size", "nfiles"))


def _torn(root: Path) -> Iterator[Workspace]:
    """Profiles whose lock dvc cannot read, or which is the beginning of the one that was kept."""
    for name in profile_names(root):
        workspace = Workspace(root, name)
        lock, kept = lock_file(workspace), workspace.data / _KEPT
        if not lock.exists():
            continue
        text = lock.read_bytes()
        before = kept.read_bytes() if kept.exists() else b""
        if not is_whole(text) or (len(text) < len(before) and before.startswith(text)):
            yield workspace


def _told(workspace: Workspace) -> str:
    if (workspace.data / _KEPT).exists():
        return "the last whole one comes back, and what it does not tell of runs again"
    return "no whole one was kept, every stage runs again"


def lock_file(workspace: Workspace) -> Path:
    """Return where dvc writes down what each stage of the profile read and wrote."""
    return workspace.dvc_yaml.with_name("dvc.lock")


def _near(workspace: Workspace) -> str:
    return lock_file(workspace).relative_to(workspace.root).as_posix()


def _rwlock(root: Path) -> Path:
    return root / ".dvc" / "tmp" / "rwlock"


def _is_torn_json(path: Path) -> bool:
    try:
        return not isinstance(json.loads(path.read_bytes()), dict)
    except FileNotFoundError:
        return False
    except ValueError:
        return True


@contextmanager
def at_rest(root: Path) -> Iterator[None]:
    """Hold the lock under which dvc writes; it is a lock of the file system, so none outlives."""
    folder = root / ".dvc" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
