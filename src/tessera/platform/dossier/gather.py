"""What the history and the bundles of a profile tell of a period, each checked as it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from tessera.bundles import manifest
from tessera.contracts.errors import BadInput, TesseraError
from tessera.contracts.verdict import FORMAT
from tessera.platform.dossier.period import Period
from tessera.platform.dossier.watched import Watched, watched
from tessera.platform.release import bundles
from tessera.platform.release.chain import digest
from tessera.platform.release.history import chain, history, looks_fault, moves
from tessera.platform.release.journal import at_rest, state_fault
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Act:
    """One act, and the hash of the line that records it."""

    facts: Facts
    sha256: str

    @property
    def day(self) -> date:
        """Day on which it was done, in UTC."""
        return datetime.fromisoformat(str(self.facts["at"])).astimezone(UTC).date()


@dataclass(frozen=True, slots=True)
class Stay:
    """For how long a version was in force."""

    version: str
    since: str
    until: str | None
    """None for a version that is still in force."""


@dataclass(frozen=True, slots=True)
class Version:
    """A published version, as its bundle tells of it."""

    name: str
    sealed: Facts
    fault: str | None
    """Why nothing of it can be relied on; None if every hash and seal is right."""
    verdict: Facts = field(default_factory=dict)
    ranking: Facts = field(default_factory=dict)
    model: Facts = field(default_factory=dict)
    split: Facts = field(default_factory=dict)

    @property
    def is_model(self) -> bool:
        """Whether it is a model; else it is the policy that wrote the first log."""
        return self.sealed.get("kind") == "model"


@dataclass(frozen=True, slots=True)
class Told:
    """All that is told of a period."""

    profile: str
    period: Period
    acts: Sequence[Act]
    """Those of the period, oldest first."""
    stays: Sequence[Stay]
    versions: Sequence[Version]
    floors: Facts
    """Limits of the gate as they stood at the end of the period."""
    head: Facts
    """Number and hash of the newest act of all."""
    faults: Sequence[str]
    """What does not match; empty if all that is told is as it was written."""
    watched: Watched


def gather(workspace: Workspace, period: Period) -> Told:
    """Read and check what a document of a period tells.

    Raises
    ------
    BadInput
        If nothing was ever done in the profile.
    """
    with at_rest(workspace):
        every = _acts(workspace)
        if not every:
            raise BadInput(
                f"nothing was ever published in profile {workspace.profile}: run `tessera run "
                f"--profile {workspace.profile}`"
            )
        told = [f"the history is {found}" for found in [state_fault(workspace)] if found]
        told += [f"the ledger of looks is {found}" for found in [looks_fault(workspace)] if found]
        until = [act for act in every if act.day <= period.last]
        stays = [one for one in _stays(every) if _touches(one, period)]
        names = dict.fromkeys(one.version for one in stays)
        versions = [_version(workspace, name) for name in names]
        head = chain(workspace).head()
    told += [f"{one.name}: {one.fault}" for one in versions if one.fault]
    seen = watched(workspace, period)
    told += seen.faults
    acts = [act for act in until if period.holds(act.day)]
    return Told(
        workspace.profile, period, acts, stays, versions, _floors(until), head, told, seen
    )  # fmt: skip


def _acts(workspace: Workspace) -> list[Act]:
    lines = chain(workspace).lines()
    pairs = zip(history(workspace), lines, strict=True)
    return [Act(facts, digest(line)) for facts, line in pairs if _is_act(facts)]


def _is_act(facts: Facts) -> bool:
    """Tell whether a line can be told as an act; that another one stands there is a fault."""
    try:
        datetime.fromisoformat(str(facts["at"]))
    except (KeyError, ValueError):
        return False
    return "act" in facts and ("to" in facts or not moves([facts]))


def _stays(acts: Sequence[Act]) -> list[Stay]:
    """Return which version was in force from when to when.

    >>> moved = [{"act": "publish", "to": "v1", "at": "2025-01-01T00:00:00+00:00"},
    ...          {"act": "publish", "to": "v2", "at": "2025-03-01T00:00:00+00:00"}]
    >>> [(one.version, one.until) for one in _stays([Act(one, "") for one in moved])]
    [('v1', '2025-03-01T00:00:00+00:00'), ('v2', None)]
    """
    path = moves([act.facts for act in acts])
    ends: list[str | None] = [str(act["at"]) for act in path[1:]]
    pairs = zip(path, [*ends, None], strict=False)
    return [Stay(str(act["to"]), str(act["at"]), end) for act, end in pairs]


def _touches(stay: Stay, period: Period) -> bool:
    ended = None if stay.until is None else datetime.fromisoformat(stay.until).date()
    begun = datetime.fromisoformat(stay.since).date()
    return begun <= period.last and (ended is None or ended >= period.first)


def _version(workspace: Workspace, name: str) -> Version:
    bundle = workspace.bundles / name
    try:
        sealed = bundles.checked(workspace, bundle)
    except TesseraError as error:
        return Version(name, {}, str(error))
    verdict = _document(bundle / manifest.VERDICT)
    return Version(
        name,
        sealed,
        None,
        verdict if verdict.get("version") == FORMAT else {},
        _document(bundle / "ranking.json"),
        _document(bundle / "model" / "config.json"),
        _document(bundle / "split.json"),
    )


def _document(path: Path) -> Facts:
    return files.read_json(path) if path.exists() else {}


def _floors(acts: Sequence[Act]) -> Facts:
    told = [act.facts["floors"] for act in acts if act.facts.get("act") == "floors"]
    return told[-1] if told else {}
