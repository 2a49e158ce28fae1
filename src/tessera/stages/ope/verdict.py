"""The rule that opens or shuts the gate, as a pure function of numbers.

PROMOTE only on a bound, never on a point estimate: at an exact tie a comparison of two means
promotes half of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Decision = Literal["PROMOTE", "HOLD", "REJECT", "INVALID"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)


@dataclass(frozen=True, slots=True)
class Check:
    """One condition: what was measured, against which threshold."""

    name: str
    value: float
    threshold: float
    ok: bool | None
    """None if it could not be measured."""
    says: str
    """What it means if it fails."""
    may_lack: bool = False
    """There is nothing to measure it by, so that it may pass unmeasured."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the rule looks at."""

    prechecks: Sequence[Check]
    guardrails: Sequence[Check]
    lower: float
    """Lower bound of the lift, candidate minus champion."""
    upper: float
    signs: Sequence[float]
    """Point estimates of the lift that must agree."""
    margin: float = 0.0
    """Loss that is still accepted."""
    identical: bool = False
    """The candidate would show what the champion shows: there is nothing to decide."""
    beside: Sequence[Check] = ()
    """Further lower bounds that must hold: of investors like those seen, and of late."""


def decide(evidence: Evidence) -> tuple[Decision, str]:
    """Apply the rule and say why.

    Returns
    -------
    decision : Decision
        INVALID if the log cannot answer; REJECT if the candidate is worse; PROMOTE if it is better
        by all of its lower bounds, all estimators agree and no guardrail is broken or lacks what it
        could be measured by; else HOLD, which is all that identical policies can get.
    reason : str
        One line for people.
    """
    failed = [check for check in evidence.prechecks if not check.ok]
    if failed:
        return "INVALID", "; ".join(_told(check) for check in failed)
    if evidence.identical:
        return "HOLD", "identical policies: the candidate would show what the champion shows"
    needed = 0.0 - evidence.margin
    if evidence.upper < needed:
        return "REJECT", f"upper bound of the lift is {evidence.upper:+.4f}, below {needed:g}"
    return _promote_or_hold(evidence, needed)


def _promote_or_hold(evidence: Evidence, needed: float) -> tuple[Decision, str]:
    if not evidence.lower > needed:
        return "HOLD", f"lower bound of the lift is {evidence.lower:+.4f}, needs > {needed:g}"
    found = f"lower bound of the lift is {evidence.lower:+.4f} > {needed:g}"
    against = _against(evidence, needed)
    if against:
        return "HOLD", f"{found}, but {against}"
    unknown = [check.name for check in evidence.guardrails if check.ok is None]
    but = f" (not measured: {', '.join(unknown)})" if unknown else ""
    return "PROMOTE", f"{found}; the estimators agree and every guardrail holds{but}"


def _against(evidence: Evidence, needed: float) -> str:
    """Say what speaks against a candidate whose sequence holds; nothing if nothing does."""
    short = [check for check in evidence.beside if not check.ok]
    if short:
        return "; ".join(_told(check) for check in short)
    if not all(sign > needed for sign in evidence.signs):
        values = ", ".join(f"{sign:+.4f}" for sign in evidence.signs)
        return f"the estimators disagree: {values}"
    broken = [check for check in evidence.guardrails if not (check.ok or _excused(check))]
    return "; ".join(_told(check) for check in broken)


def _excused(check: Check) -> bool:
    return check.ok is None and check.may_lack


def _told(check: Check) -> str:
    if check.ok is None:
        return f"{check.says} ({check.name} was not measured)"
    return f"{check.says} ({check.name} is {check.value:.4g}, threshold {check.threshold:.4g})"
