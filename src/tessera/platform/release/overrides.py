"""Reasons and approvers: who answers for an act that no verdict asks for, and why."""

from __future__ import annotations

from dataclasses import dataclass

from tessera.contracts import statements
from tessera.contracts.errors import BadParams, GateClosed
from tessera.platform.workspace.params import check_section


@dataclass(frozen=True, slots=True)
class Override:
    """Why something is done against its verdict, and who answers for it."""

    reason: str | None = None
    approver: str | None = None


def checked(override: Override) -> Override:
    """Return what was given as it is recorded.

    Raises
    ------
    BadParams
        If reason or approver is too short to be one.
    """
    values = {"override_reason": override.reason or None, "approver": override.approver or None}
    gate = check_section("gate", values).model_dump()
    return Override(gate["override_reason"], gate["approver"])


def stated(reason: str, approver: str | None) -> tuple[str, str | None]:
    """Return a reason, which must be there, and an approver as they are recorded.

    Raises
    ------
    BadParams
        If there is no reason, or the approver is nobody.
    """
    try:
        why = statements.reason(reason)
        return why, None if approver is None else statements.name(approver)
    except ValueError as error:
        raise BadParams(f"write --reason TEXT and, if any, --approver NAME: {error}") from error


def require_override(why: str, given: Override) -> None:
    """Refuse to act against a verdict without a reason and an approver.

    Raises
    ------
    GateClosed
        If one of them is missing.
    """
    if not (given.reason and given.approver):
        raise GateClosed(
            f"{why}: publishing it needs --reason and --approver, which are recorded for ever"
        )
