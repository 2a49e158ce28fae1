"""What a person does to what is published: promote a candidate or a former version, roll back.

The pipeline publishes by the verdict alone; these acts are a person's, with a name and a reason
where there is no PROMOTE to lean on, and a name where a PROMOTE waits for approval.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tessera.contracts.errors import BadParams, BrokenBundle, GateClosed
from tessera.platform.release import bundles, floors
from tessera.platform.release.bundles import PROMOTE, read_candidate
from tessera.platform.release.history import history, moves, versions_behind, waits
from tessera.platform.release.journal import commit, one_act
from tessera.platform.release.overrides import Override, checked, require_override, stated
from tessera.platform.release.pointer import current_bundle, current_version
from tessera.platform.release.registry import Published, bootstrap, put_up, require_fresh, stay
from tessera.platform.release.verdict_text import evidence
from tessera.platform.workspace import files
from tessera.platform.workspace.params import load_params
from tessera.platform.workspace.paths import Workspace


def promote(
    workspace: Workspace,
    version: str | None = None,
    override: Override | None = None,
    identity: str | None = None,
) -> Published:
    """Publish the candidate according to its verdict, or bring back a version.

    Parameters
    ----------
    workspace : Workspace
        The profile.
    version : str or None
        Version that was published before; None for the candidate.  Its verdict was given against
        another champion, so it always needs an override.
    override : Override or None
        Reason and approver; whatever is not a PROMOTE needs both, a PROMOTE that approval was
        asked for the approver.
    identity : str or None
        Identity of the bundle that was approved; another one is refused.

    Raises
    ------
    GateClosed
        If the verdict does not allow it and reason or approver is missing, there is no candidate,
        the champion moved since it was judged, or it is not what was approved.
    BadParams
        If reason or approver is too short to be one, or there is no such version.
    BrokenBundle
        If the bundle does not match its manifest; nothing has moved.
    BrokenHistory
        If the history is not what the acts wrote.
    """
    given = checked(override or Override())
    with one_act(workspace):
        if version is not None:
            return _bring_back(workspace, version, given, identity)
        candidate = read_candidate(workspace)
        _require_approved(candidate.identity, identity)
        bootstrap(workspace, candidate)
        reached = [e for e in moves(history(workspace)) if e["identity"] == candidate.identity]
        if reached:
            return _was_published(workspace, str(reached[-1]["to"]), candidate.decision)
        require_fresh(workspace, candidate)
        if candidate.decision != PROMOTE:
            why = str(candidate.verdict["reason"])
            require_override(f"the verdict is {candidate.decision} ({why})", given)
        elif not given.approver and _needs_approval(workspace, candidate.identity):
            raise GateClosed("the candidate needs approval: give --approver NAME, it is recorded")
        return put_up(workspace, candidate, "promote", given)


def hold(
    workspace: Workspace, reason: str, approver: str | None = None, identity: str | None = None
) -> Published:
    """Turn down the candidate that waits for approval; where none waits, nothing changes.

    Parameters
    ----------
    workspace : Workspace
        The profile.
    reason : str
        Why.
    approver : str or None
        Who turned it down, None if nobody answered in time.
    identity : str or None
        Identity of the bundle that was shown; another one goes on waiting.

    Raises
    ------
    BadParams
        If there is no reason, or the approver is nobody.
    GateClosed, BrokenBundle, BrokenHistory
        As `promote` does.
    """
    why, who = stated(reason, approver)
    with one_act(workspace):
        nothing = Published(
            current_version(workspace), False, "none", "no candidate waits for approval"
        )
        if identity and not waits(history(workspace), identity):
            return nothing
        candidate = read_candidate(workspace)
        shown = identity or candidate.identity
        if candidate.identity != shown or not waits(history(workspace), shown):
            return nothing
        return stay(workspace, candidate, "hold", f"not approved: {why}", who)


def rollback(
    workspace: Workspace, to: str | None, reason: str, approver: str | None = None
) -> Published:
    """Make the version before the current one, or one further back, current again.

    No file of a bundle is written; every hash is checked before and after.

    Raises
    ------
    GateClosed
        If there is nothing to go back to, or the version named does not lie behind.
    BadParams
        If there is no reason, or the approver is nobody.
    BrokenBundle
        If the target does not match its manifest; nothing has moved.
    BrokenHistory
        If the history is not what the acts wrote.
    """
    why, who = stated(reason, approver)
    with one_act(workspace):
        target = _target(workspace, to)
        sealed = _sealed(workspace, target)
        _move(workspace, "rollback", target, sealed, {"approver": who, "reason": why})
        return Published(target, True, str(sealed.get("decision", "none")), why)


def move_floors(
    workspace: Workspace, wanted: Sequence[str], override: Override
) -> dict[str, float]:
    """Move floors of the gate, which takes a reason and an approver; return all of them.

    Parameters
    ----------
    workspace : Workspace
        The profile.
    wanted : Sequence[str]
        Each like `min_ess=50`.
    override : Override
        Reason and approver.

    Raises
    ------
    BadParams
        If a word is none of these, or reason or approver is too short to be one.
    GateClosed
        If reason or approver is missing, or nothing would move.
    """
    given = checked(override)
    if not (given.reason and given.approver):
        raise GateClosed("moving a floor needs --reason and --approver, which are recorded")
    values = dict(floors.read(word) for word in wanted)
    return floors.move(workspace, values, given.reason, given.approver)


def proposal(workspace: Workspace, version: str | None = None) -> dict[str, Any]:
    """Return what `promote` would publish, for whoever has to approve it.

    Raises
    ------
    GateClosed, BadParams, BrokenBundle
        If there is no such bundle, or it or the page of its verdict is broken; whether the champion
        moved since it was judged, `promote` says.
    """
    if version is None:
        candidate = read_candidate(workspace)
        bundle, identity, verdict = candidate.bundle, candidate.identity, candidate.verdict
        page = bundles.candidate_page(workspace, candidate.verdict_sha256)
    else:
        bundle = workspace.bundles / version
        identity = str(_sealed(workspace, _known(workspace, version))["identity"])
        verdict = _verdict(bundle)
        page = bundles.checked_page(workspace, bundle / "verdict.json")
    decision = str(verdict["decision"])
    return {
        "what": version or "the candidate",
        "current": current_version(workspace) or "nothing",
        "identity": identity,
        "decision": decision,
        "reason": str(verdict["reason"]),
        "evidence": evidence(verdict),
        "needs_override": version is not None or decision != PROMOTE,
        "waits": version is None and waits(history(workspace), identity),
        "link": (bundle / "verdict.json").as_uri(),
        "page": page.as_uri() if page else None,
    }


def _bring_back(
    workspace: Workspace, version: str, given: Override, identity: str | None
) -> Published:
    sealed = _sealed(workspace, _known(workspace, version))
    _require_approved(str(sealed["identity"]), identity)
    decision = str(sealed.get("decision", "none"))
    if version == current_version(workspace):
        return _was_published(workspace, version, decision)
    require_override(f"{version} was published before and not judged anew", given)
    told = {"override_reason": given.reason, "approver": given.approver}
    _move(workspace, "promote", version, sealed, {**told, "reason": f"override: {given.reason}"})
    return Published(version, True, decision, f"override: {given.reason}")


def _move(
    workspace: Workspace, act: str, to: str, sealed: dict[str, Any], told: dict[str, Any]
) -> None:
    """Point to a bundle that stands; its hashes are checked on the way in and after."""
    facts = {
        "act": act,
        "from": current_version(workspace),
        "to": to,
        "decision": sealed.get("decision"),
        "identity": sealed["identity"],
        "verdict_sha256": sealed["files"].get("verdict.json"),
    }
    commit(workspace, {**facts, **told}, str(sealed["identity"]))
    current_bundle(workspace)


def _was_published(workspace: Workspace, version: str, decision: str) -> Published:
    if version != current_version(workspace):
        raise GateClosed(
            f"the candidate is {version}, which was published and is not current any more: "
            f"`tessera promote --version {version}` with a reason and an approver brings it back"
        )
    return Published(version, False, decision, f"{version} is current already")


def _target(workspace: Workspace, to: str | None) -> str:
    behind = versions_behind(history(workspace))
    if len(behind) < 2:
        current = behind[-1] if behind else "nothing"
        raise GateClosed(f"there is nothing to go back to: {current} is all that was published")
    if to is None:
        return behind[-2]
    further = [version for version in behind[:-1] if version != behind[-1]]
    if to not in further:
        known = ", ".join(dict.fromkeys(further))
        raise GateClosed(
            f"{to} is not one of the versions before {behind[-1]}: choose one of {known}, "
            f"or bring a version back with `tessera promote --version`"
        )
    return to


def _known(workspace: Workspace, version: str) -> str:
    known = dict.fromkeys(entry["to"] for entry in moves(history(workspace)))
    if version not in known:
        names = ", ".join(known) or "none yet"
        raise BadParams(f"no version {version!r} was ever published: choose one of {names}")
    return version


def _sealed(workspace: Workspace, version: str) -> dict[str, Any]:
    """Return the manifest of a published bundle that is whole and the one that was published."""
    sealed = bundles.checked(workspace, workspace.bundles / version)
    known = [e["identity"] for e in moves(history(workspace)) if e["to"] == version]
    if sealed["identity"] != known[0]:
        raise BrokenBundle(f"{version} is not what was published: restore it from a backup")
    return sealed


def _verdict(bundle: Path) -> dict[str, Any]:
    path = bundle / "verdict.json"
    if not path.exists():
        return {"decision": "none", "reason": "the policy that wrote the log was never judged"}
    return dict(files.read_json(path))


def _needs_approval(workspace: Workspace, identity: str) -> bool:
    """Whether approval is asked for by the params, or was for this candidate, in a form perhaps."""
    acts = [entry["act"] for entry in history(workspace) if entry.get("identity") == identity]
    return "wait" in acts or bool(load_params(workspace)["gate"].model_dump()["approval"])


def _require_approved(found: str, approved: str | None) -> None:
    if approved and found != approved:
        raise GateClosed("the bundle is not the one that was approved any more: ask again")
