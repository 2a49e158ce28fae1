"""State: published bundles, the pointer to the current one, and the history of acts.

A reader follows `current.json`; it is swapped by one rename, so a reader sees the old bundle or the
new one, never a mixture.  Only acts change anything under `registry/<profile>/`: publishing stands
here, what a person does besides (promote, roll back) in `acts.py`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tessera.bundles import manifest
from tessera.contracts.errors import BrokenBundle, GateClosed
from tessera.platform.release import bundles
from tessera.platform.release.bundles import PROMOTE, Candidate, read_candidate
from tessera.platform.release.chain import now
from tessera.platform.release.floors import loosened
from tessera.platform.release.history import history
from tessera.platform.release.journal import commit, one_act
from tessera.platform.release.overrides import Override
from tessera.platform.release.pointer import current_version
from tessera.platform.release.revision import git_revision
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace

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


def newest_bundle(workspace: Workspace) -> Path | None:
    """Return the newest bundle that holds a model, current or not: its ledger is the longest."""
    found = [path for path in workspace.bundles.glob("v*") if (path / "ledger").is_dir()]
    return max(found, key=lambda path: int(path.name[1:]), default=None)


def publish(
    workspace: Workspace, override_reason: str | None, approver: str | None, approval: bool = False
) -> Published:
    """Make the candidate bundle current if its verdict, or a recorded override, allows it.

    Publishing the same bundle twice changes nothing.  With `approval` a PROMOTE waits for a person
    (`acts.promote`, `acts.hold`), and goes on waiting whatever later runs ask for, until one of
    them builds another.

    Raises
    ------
    GateClosed
        If there is no candidate, or the champion moved since the candidate was judged.
    BrokenBundle
        If the candidate does not match its manifest.
    BrokenHistory
        If the history is not what the acts wrote.
    """
    with one_act(workspace):
        candidate = read_candidate(workspace)
        bootstrap(workspace, candidate)
        before = _told_already(workspace, candidate, override_reason)
        if before is not None:
            return before
        require_fresh(workspace, candidate)
        if candidate.decision != PROMOTE and not override_reason:
            return stay(workspace, candidate, "hold", str(candidate.verdict["reason"]))
        if candidate.decision == PROMOTE and approval:
            why = f"waits for approval: {candidate.verdict['reason']}"
            return stay(workspace, candidate, "wait", why)
        # Nobody approved what the verdict itself lets through.
        answers = None if candidate.decision == PROMOTE else approver
        return put_up(workspace, candidate, "publish", Override(override_reason, answers))


def bootstrap(workspace: Workspace, candidate: Candidate) -> None:
    """Publish the logging policy as v0, so that readers have an answer before any promotion."""
    if candidate.judged_against != FIRST or current_version(workspace) is not None:
        return
    import pyarrow.parquet as pq  # half a second that no reader of a verdict needs

    with _new_bundle(workspace, FIRST) as aside:
        aside.mkdir()
        for name in ("items.parquet", "neighbours.parquet"):
            shutil.copyfile(candidate.bundle / name, aside / name)
        investors = pq.read_table(candidate.bundle / "users.parquet")
        # The vectors are the candidate's: what nobody has judged must not serve.
        pq.write_table(investors.drop_columns(["vector"]), aside / "users.parquet")
        facts = {"kind": "logging", "version": FIRST, "published_at": now()}
        identity = bundles.seal(workspace, aside, facts)
    told = {"act": "bootstrap", "from": None, "to": FIRST, "identity": identity}
    commit(workspace, {**told, "reason": "policy that wrote the log"}, identity)


def require_fresh(workspace: Workspace, candidate: Candidate) -> None:
    """Refuse a verdict that was given against another champion.

    Raises
    ------
    GateClosed
        If the champion moved since the candidate was judged, or a later look said otherwise.
    BrokenHistory
        If the ledger of looks is not what the looks before left.
    """
    champion = current_version(workspace)
    if candidate.judged_against != champion:
        raise GateClosed(
            f"the candidate was judged against {candidate.judged_against} but {champion} is "
            f"published now: run `tessera run --profile {workspace.profile}` to judge it again"
        )
    _require_newest_look(workspace, candidate)
    _require_floors(workspace, candidate)


def _require_floors(workspace: Workspace, candidate: Candidate) -> None:
    """Refuse a PROMOTE by params that are looser than the floors as they stand now."""
    if candidate.decision != PROMOTE or not candidate.verdict.get("params"):
        return
    loose = loosened(workspace, candidate.verdict["params"])
    if loose:
        raise GateClosed(
            f"{loose[0]}, which moved since the candidate was judged: run `tessera run --profile "
            f"{workspace.profile}` with tighter params"
        )


def _require_newest_look(workspace: Workspace, candidate: Candidate) -> None:
    """Refuse a PROMOTE where the last look at the same candidate, as it was counted, said less."""
    if candidate.decision != PROMOTE:
        return
    from tessera.platform.release.looks import newest_look  # reads the log: no other act needs that

    newest = newest_look(workspace, str(candidate.verdict.get("candidate")))
    if newest is not None and newest["decision"] != PROMOTE:
        raise GateClosed(
            f"the newest look at this candidate (look {newest['look']}) says {newest['decision']}: "
            "judge it again on a longer log, or train another candidate"
        )


def put_up(workspace: Workspace, candidate: Candidate, act: str, override: Override) -> Published:
    """Copy the candidate under a version of its own and make it current, within `one_act`.

    Raises
    ------
    BrokenBundle
        If the candidate changed while it was copied, or the page of its verdict since it was drawn.
    GateClosed
        If the verdict has no page.
    """
    version = _next_version(workspace)
    against = candidate.decision != PROMOTE
    facts = _facts(workspace, candidate, override.reason if against else None, override.approver)
    with _new_bundle(workspace, version) as aside:
        shutil.copytree(candidate.bundle, aside)
        if manifest.check(aside)["identity"] != candidate.identity:
            raise BrokenBundle("the candidate changed while it was published: publish again")
        bundles.add_page(workspace, aside, candidate.verdict_sha256)
        sealed = {"kind": "model", "version": version, "published_at": now(), **facts}
        del sealed["identity"]
        bundles.seal(workspace, aside, sealed)
    why = f"override: {override.reason}" if against else str(candidate.verdict["reason"])
    moved = {"act": act, "from": current_version(workspace), "to": version, **facts, "reason": why}
    commit(workspace, moved, candidate.identity)
    return Published(version, True, candidate.decision, why)


def stay(
    workspace: Workspace, candidate: Candidate, act: str, reason: str, approver: str | None = None
) -> Published:
    """Record why the candidate does not become current, within `one_act`."""
    champion = current_version(workspace)
    facts = _facts(workspace, candidate, None, approver)
    commit(workspace, {"act": act, "from": champion, "to": champion, **facts, "reason": reason})
    return Published(champion, False, candidate.decision, reason)


def _told_already(
    workspace: Workspace, candidate: Candidate, override: str | None
) -> Published | None:
    """Return what was said of this very bundle before, if nothing can have changed."""
    for entry in reversed(history(workspace)):
        if entry.get("identity") != candidate.identity or entry["act"] == "rollback":
            continue
        # A PROMOTE is held by a person alone: a reason given to a run does not overrule that.
        if entry["act"] == "hold" and override and candidate.decision != PROMOTE:
            return None
        return Published(current_version(workspace), False, candidate.decision, entry["reason"])
    return None


def _facts(
    workspace: Workspace, candidate: Candidate, override_reason: str | None, approver: str | None
) -> dict[str, Any]:
    return {
        "decision": candidate.decision,
        "candidate": candidate.verdict.get("candidate"),
        "identity": candidate.identity,
        "verdict_sha256": candidate.verdict_sha256,
        "judged_against": candidate.judged_against,
        "override_reason": override_reason,
        "approver": approver,
        "git_revision": git_revision(workspace.root),
        "dvc_lock_sha256": _lock_hash(workspace),
    }


@contextmanager
def _new_bundle(workspace: Workspace, version: str) -> Iterator[Path]:
    """Give a folder to fill; it is on the disk afterwards, and gets its name by the act."""
    aside = workspace.bundles / f".{version}.making"
    files.remove(aside)
    aside.parent.mkdir(parents=True, exist_ok=True)
    yield aside
    files.sync(aside)


def _next_version(workspace: Workspace) -> str:
    names = [path.name for path in workspace.bundles.glob("v*")]
    taken = [int(name[1:]) for name in names if re.fullmatch(r"v\d+", name)]
    return f"v{max(taken, default=0) + 1}"


def _lock_hash(workspace: Workspace) -> str | None:
    lock = workspace.dvc_yaml.with_name("dvc.lock")
    return files.sha256(lock) if lock.exists() else None
