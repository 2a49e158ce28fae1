"""What is tried beside the published bundle: that one begins is an act, and that harm ends one.

The params say what is wanted; the history says which canary has ended, and such a bundle is not
tried again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tessera.bundles.manifest import MANIFEST, read_manifest
from tessera.contracts.errors import BadParams, BrokenBundle
from tessera.platform.release import bundles, exploration
from tessera.platform.release.history import CANARY_END, ended, history, moves
from tessera.platform.release.journal import commit, one_act
from tessera.platform.release.pointer import current_version
from tessera.platform.workspace.paths import Workspace

if TYPE_CHECKING:  # torch takes seconds
    from tessera.serve.challengers import Challenger, Challengers, Role
    from tessera.serve.params import ServeParams

CANDIDATE = "candidate"
_SHORT = 12


@dataclass(frozen=True, slots=True)
class Trials:
    """The registry of a profile as a service follows it: a `tessera.serve` Registry."""

    workspace: Workspace
    params: ServeParams

    def challengers(self) -> Challengers:
        """Return what the params want, but for a canary that ended."""
        from tessera.serve.challengers import Challengers, Unfound

        found: dict[Role, Challenger] = {}
        unfound: dict[Role, Unfound] = {}
        named: dict[Role, str | None] = {"canary": self.params.canary, "shadow": self.params.shadow}
        for role, name in named.items():
            try:
                if name is not None:
                    found[role] = challenger(self.workspace, name)
            except (BadParams, BrokenBundle) as error:
                unfound[role] = Unfound(name or "", error)
        canary = found.get("canary")
        if canary is not None and has_ended(self.workspace, canary.identity):
            canary = None
        return Challengers(canary, self.params.canary_share, found.get("shadow"), unfound)

    def explores(self) -> bool:
        """Return whether slates are to be drawn, as the last act on it says."""
        return exploration.explores(self.workspace)

    def began(self, role: Role, challenger: Challenger) -> None:
        """Record that a bundle begins to be tried, unless that was the last act of it."""
        share = {"share": self.params.canary_share} if role == "canary" else {}
        told = {"act": f"{role}-begin", **_tried(challenger), **share}
        with one_act(self.workspace):
            acts = [one for one in history(self.workspace) if _tells_of(one, challenger.identity)]
            of_role = [one for one in acts if str(one["act"]).startswith(role)]
            if not of_role or any(of_role[-1].get(name) != value for name, value in told.items()):
                _record(self.workspace, {**told, "reason": f"serve.{role} names it"})

    def ended(self, canary: Challenger, reason: str) -> None:
        """Record that a guardrail ended a canary; it is not tried again, under whatever name."""
        with one_act(self.workspace):
            if not has_ended(self.workspace, canary.identity):
                _record(self.workspace, {"act": CANARY_END, **_tried(canary), "reason": reason})


def challenger(workspace: Workspace, name: str) -> Challenger:
    """Find a published version, or the candidate under a name that follows from its identity.

    Raises
    ------
    BadParams
        If no such version was ever published, or there is no candidate.
    BrokenBundle
        If it has no manifest that can be read; whether its files match, `Challenger.check` says.
    """
    from tessera.serve.challengers import Challenger

    known = {str(entry["to"]): str(entry["identity"]) for entry in moves(history(workspace))}
    was = [to for to, identity in known.items() if name == _called(identity)]
    if was:  # a candidate that was published since
        path, identity, version = workspace.bundles / was[-1], known[was[-1]], name
    elif name.startswith(CANDIDATE):
        path = workspace.artifact("bundle")
        if not (path / MANIFEST).exists():
            raise BadParams(
                f"profile {workspace.profile} has no {CANDIDATE} now: run `tessera run --profile "
                f"{workspace.profile}`, or name a published version"
            )
        identity = str(read_manifest(path)["identity"])
        version = _called(identity)
        if name not in (CANDIDATE, version):
            raise BadParams(f"{name} is no candidate any more: it was trained again")
    else:
        if name not in known:
            raise BadParams(
                f"no version {name!r} was ever published: choose one of {', '.join(known)}, or "
                f"{CANDIDATE}"
            )
        path, identity, version = workspace.bundles / name, known[name], name

    def check() -> None:
        if bundles.checked(workspace, path)["identity"] != identity:
            raise BrokenBundle(f"{version} is not what it was: publish again, or name another")

    return Challenger(path, version, identity, check)


def _called(identity: str) -> str:
    return f"{CANDIDATE}-{identity[:_SHORT]}"


def has_ended(workspace: Workspace, identity: str) -> bool:
    """Tell whether a canary was ended, whatever it was called then."""
    return identity in ended(history(workspace))


def _tried(challenger: Challenger) -> dict[str, str]:
    """Name a bundle in an act; `identity` would be a word on the candidate."""
    return {"tried": challenger.version, "tried_identity": challenger.identity}


def _tells_of(act: Mapping[str, Any], identity: str) -> bool:
    return act.get("tried_identity") == identity


def _record(workspace: Workspace, facts: dict[str, Any]) -> None:
    stays = current_version(workspace)
    commit(workspace, {**facts, "from": stays, "to": stays})
