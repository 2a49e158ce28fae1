"""State: published bundles, the pointer to the current one, and the history of acts.

A reader follows `current.json`; it is swapped by one rename, so a reader sees the old bundle or the
new one, never a mixture.  Only the functions here change anything under `registry/<profile>/`.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq

from tessera.contracts.errors import BrokenBundle, GateClosed
from tessera.index import manifest
from tessera.pipeline import files
from tessera.pipeline.paths import Home

PROMOTE = "PROMOTE"
_FACTS = ("decision", "judged_against", "override_reason", "approver", "git_revision")
FIRST = "v0"
"""Version of the policy that was there before any model: the market's logging policy."""


@dataclass(frozen=True, slots=True)
class Published:
    """What an act of publishing did."""

    version: str | None
    """Version that is current after the act, None if nothing was ever published."""
    moved: bool
    """Did the pointer move."""
    decision: str
    """Decision of the verdict."""
    reason: str
    """Why it moved or stayed, one line."""


def current_version(place: Home) -> str | None:
    """Version that the pointer names, None before the first publication."""
    pointer = place.registry / "current.json"
    return str(files.read_json(pointer)["version"]) if pointer.exists() else None


def current_bundle(place: Home) -> Path:
    """Return the published bundle after checking every hash.

    Raises
    ------
    GateClosed
        If nothing is published yet.
    BrokenBundle
        If a file does not match the manifest or the manifest does not match the pointer.
    """
    pointer = place.registry / "current.json"
    if not pointer.exists():
        raise GateClosed(
            f"nothing is published for profile {place.profile}: "
            f"run `tessera run --profile {place.profile}` first"
        )
    named = files.read_json(pointer)
    bundle = place.registry / "bundles" / str(named["version"])
    if manifest.check(bundle)["identity"] != named["identity"]:
        raise BrokenBundle(f"{bundle.name} is not what was published: publish again or roll back")
    return bundle


def newest_bundle(place: Home) -> Path | None:
    """Return the newest bundle that holds a model, current or not: its ledger is the longest."""
    found = [path for path in (place.registry / "bundles").glob("v*") if (path / "ledger").is_dir()]
    return max(found, key=lambda path: int(path.name[1:]), default=None)


def history(place: Home) -> list[dict[str, Any]]:
    """Every act so far, oldest first."""
    path = place.registry / "history.jsonl"
    if not path.exists():
        return []
    # A line without its end was cut off by a crash: its act is repaired by the next one.
    return [json.loads(line) for line in path.read_text().splitlines(True) if line.endswith("\n")]


@contextmanager
def locked(place: Home) -> Iterator[None]:
    """Let one act at a time change the state of a profile."""
    place.registry.mkdir(parents=True, exist_ok=True)
    with (place.registry / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def publish(place: Home, override_reason: str | None, approver: str | None) -> Published:
    """Make the candidate bundle current if its verdict, or a recorded override, allows it.

    Publishing the same bundle twice changes nothing.

    Raises
    ------
    GateClosed
        If there is no candidate, or the champion moved since the candidate was judged.
    BrokenBundle
        If the candidate does not match its manifest.
    """
    with locked(place):
        candidate = place.artifact("bundle")
        if not candidate.exists():
            raise GateClosed(f"no candidate bundle: run `tessera run --profile {place.profile}`")
        found = manifest.check(candidate)
        verdict = files.read_json(candidate / "verdict.json")
        _enthrone_first(place, candidate, found)
        _finish_interrupted(place, found)
        before = _told_already(place, found, verdict, override_reason)
        if before is not None:
            return before
        return _decide(place, candidate, found, verdict, (override_reason, approver))


def _enthrone_first(place: Home, candidate: Path, found: dict[str, Any]) -> None:
    """Publish the logging policy as v0, so that readers have an answer before any promotion."""
    if found["judged_against"] != FIRST or current_version(place) is not None:
        return
    with _new_bundle(place, FIRST) as aside:
        aside.mkdir()
        for name in ("items.parquet", "neighbours.parquet"):
            shutil.copyfile(candidate / name, aside / name)
        investors = pq.read_table(candidate / "users.parquet")
        # The vectors are the candidate's: what nobody has judged must not serve.
        pq.write_table(investors.drop_columns(["vector"]), aside / "users.parquet")
        manifest.seal(aside, {"kind": "logging", "version": FIRST, "published_at": _now()})
    _point(place, FIRST)
    _record(place, {"act": "enthrone", "version": FIRST, "reason": "policy that wrote the log"})


def _finish_interrupted(place: Home, found: dict[str, Any]) -> None:
    """Write the entry of a publication that was killed after the pointer had moved."""
    pointer = place.registry / "current.json"
    if not pointer.exists() or files.read_json(pointer)["identity"] != found["identity"]:
        return
    if any(entry.get("identity") == found["identity"] for entry in history(place)):
        return
    sealed = manifest.read_manifest(current_bundle(place))
    facts = {name: sealed[name] for name in (*_FACTS, "version") if name in sealed}
    why = "recorded after an interrupted publication"
    _record(place, {"act": "publish", "identity": found["identity"], **facts, "reason": why})


def _told_already(
    place: Home, found: dict[str, Any], verdict: dict[str, Any], override: str | None
) -> Published | None:
    """Return what was said of this very bundle before, if nothing can have changed."""
    for entry in reversed(history(place)):
        if entry.get("identity") != found["identity"] or entry["act"] not in ("publish", "hold"):
            continue
        if entry["act"] == "hold" and override:
            return None
        return Published(current_version(place), False, str(verdict["decision"]), entry["reason"])
    return None


def _decide(
    place: Home,
    candidate: Path,
    found: dict[str, Any],
    verdict: dict[str, Any],
    override: tuple[str | None, str | None],
) -> Published:
    champion = current_version(place)
    if found["judged_against"] != champion:
        raise GateClosed(
            f"the candidate was judged against {found['judged_against']} but {champion} is "
            f"published now: run `tessera run --profile {place.profile}` to judge it again"
        )
    reason, approver = override
    decision = str(verdict["decision"])
    facts = {
        "decision": decision,
        "identity": found["identity"],
        "judged_against": champion,
        "override_reason": reason if decision != PROMOTE else None,
        "approver": approver,
        "git_revision": git_revision(place.root),
        "dvc_lock_sha256": _lock_hash(place),
    }
    if decision != PROMOTE and not reason:
        _record(place, {"act": "hold", **facts, "reason": str(verdict["reason"])})
        return Published(champion, False, decision, str(verdict["reason"]))
    version = _next_version(place)
    with _new_bundle(place, version) as aside:
        shutil.copytree(candidate, aside)
        if manifest.check(aside)["identity"] != found["identity"]:
            raise BrokenBundle("the candidate changed while it was published: publish again")
        sealed = {"kind": "model", "version": version, "published_at": _now(), **facts}
        del sealed["identity"]
        manifest.seal(aside, sealed)
    _point(place, version)
    why = str(verdict["reason"]) if decision == PROMOTE else f"override: {reason}"
    _record(place, {"act": "publish", "version": version, **facts, "reason": why})
    return Published(version, True, decision, why)


@contextmanager
def _new_bundle(place: Home, version: str) -> Iterator[Path]:
    """Give a folder to fill; it gets its name only when it is whole and on the disk."""
    aside = place.registry / "bundles" / f".{version}.making"
    files.remove(aside)
    aside.parent.mkdir(parents=True, exist_ok=True)
    yield aside
    files.move_into_place(aside, place.registry / "bundles" / version)


def _point(place: Home, version: str) -> None:
    sealed = manifest.read_manifest(place.registry / "bundles" / version)
    pointer = {"version": version, "identity": sealed["identity"]}
    files.write_json(pointer, place.registry / "current.json")


def _record(place: Home, entry: dict[str, Any]) -> None:
    line = json.dumps({"at": _now(), **entry}) + "\n"
    with (place.registry / "history.jsonl").open("ab+") as stream:
        _drop_torn_line(stream)
        stream.write(line.encode())
        stream.flush()
        os.fsync(stream.fileno())


def _drop_torn_line(stream: BinaryIO) -> None:
    stream.seek(0)
    whole = stream.read().rfind(b"\n") + 1
    stream.truncate(whole)


def _next_version(place: Home) -> str:
    names = [path.name for path in (place.registry / "bundles").glob("v*")]
    taken = [int(name[1:]) for name in names if re.fullmatch(r"v\d+", name)]
    return f"v{max(taken, default=0) + 1}"


def git_revision(root: Path) -> str:
    """Return the revision of the repository, with a mark if it holds uncommitted changes."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _lock_hash(place: Home) -> str | None:
    lock = place.dvc_yaml.with_name("dvc.lock")
    return files.sha256(lock) if lock.exists() else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
