"""Numbers of a verdict as a person reads them, and why it fell as it did in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tessera.stages.report import words

Row = Mapping[str, Any]
_MINUS, _SPACE = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"


def number(value: Any) -> str:
    """Four significant digits, thousands apart, never an exponent."""
    if value is None:
        return "none"
    if isinstance(value, list | tuple):
        return ", ".join(number(one) for one in value) or "none"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if float(value).is_integer() or abs(value) >= 1000:
        digits = f"{value:,.0f}"
    else:
        digits = f"{value:.4g}"
        digits = f"{value:.12f}".rstrip("0") if "e" in digits else digits
    return digits.replace("-", _MINUS)


def signed(value: float | None) -> str:
    """Four decimals behind a sign."""
    return "none" if value is None else f"{value:+.4f}".replace("-", _MINUS)


def count(value: int | None) -> str:
    """Whole number, thousands apart."""
    return "unknown" if value is None else f"{value:,}"


def level(primary: Row) -> float:
    """Error rate that the bounds of a policy divide."""
    return float(primary["level"])


def rate(primary: Row) -> str:
    """Error rate of what is said of the bounds: the share of this candidate.

    The level of a bound in a batch is less, but who is shown the best of several bounds may err
    by any of them.
    """
    return percent(primary["alpha_k"])


def percent(share: float | None) -> str:
    """Two significant digits."""
    return "none" if share is None else f"{100 * share:.2g}{_SPACE}%"


def shared(verdict: Row) -> str:
    """Say of a batch what its policies share, and which is told of; nothing of one alone."""
    batch, primary = verdict.get("batch"), verdict.get("primary")
    if not batch:
        return ""
    told = f"{len(batch)} ways to serve the same model were judged on this log"
    if not primary:
        return f"{told}; it can answer for none of them."
    none = all(row["decision"] != "PROMOTE" for row in batch)
    best = next(row for row in batch if row["proposed"])
    promoted = best["decision"] == "PROMOTE"
    which = "the promoted one with the highest lower bound" if promoted else "the best of them"
    return (
        f"{told} and share one error rate of {percent(primary['alpha_k'])}: by Holm's method each "
        "is held to its own level, so that the best of several is not promoted by luck. "
        f"{'None is promoted. ' if none else ''}The rest of this page tells of {which}, "
        f"temperature {number(best['temperature'])}."
    )


def relative(primary: Row) -> str:
    """Lift as a share of what the champion earns, in brackets; nothing if it earns nothing."""
    share = primary.get("relative_lift")
    return "" if share is None else f" ({100 * share:+.1f}{_SPACE}%)".replace("-", _MINUS)


def failed(rows: Iterable[Row] | None) -> list[str]:
    """Titles of the checks that fail."""
    return [words.rule(row["name"]).title for row in rows or () if row["ok"] is False]


def unmeasured(rows: Iterable[Row] | None) -> list[str]:
    """Titles of the checks that could not be made: they hold a candidate unless nothing could."""
    return [words.rule(row["name"]).title for row in rows or () if row["ok"] is None]


def judged(verdict: Row) -> str:
    """Say what was judged, and that a list on demand is something else."""
    if verdict.get("primary") is None:
        return "Nothing was judged."
    return (
        f"Judged: {words.policy(verdict.get('policy'))}, among the candidates of each logged "
        "request. `tessera serve` draws such lists and logs them; `tessera recommend` shows what "
        "was not judged: the best ranked of the whole catalogue, without exploration."
    )


def opening(verdict: Row) -> str:
    """Say what was decided; whoever accepts a loss is not told that the candidate is better."""
    accepted = (verdict.get("primary") or {}).get("margin") or 0
    if verdict["decision"] == "PROMOTE" and accepted:
        return (
            f"The candidate is at most {number(accepted)} worse than the champion, a loss that was "
            "accepted beforehand, and nothing else speaks against it."
        )
    return words.decision(verdict["decision"]).says


def because(verdict: Row) -> str:
    """Say in a sentence or two why the decision fell as it did, from the numbers alone."""
    broken = failed(verdict.get("prechecks"))
    if verdict["decision"] == "INVALID" and broken:
        whole = len(verdict["prechecks"])
        return f"{len(broken)} of {whole} pre-checks of the log failed: {'; '.join(broken)}."
    if verdict.get("primary") is None:
        return "There was nothing to judge by, so nothing was estimated."
    told = _BECAUSE.get(str(verdict["decision"]), _held)(verdict, verdict["primary"])
    unknown = "; ".join(unmeasured(verdict.get("guardrails")))
    return f"{told} Not measured: {unknown}." if unknown else told


def _promoted(_verdict: Row, primary: Row) -> str:
    return (
        f"On the same requests it would earn {signed(primary['lift'])} {primary['metric']} over "
        f"the champion{relative(primary)}; with an error rate of {rate(primary)}, the gain is at "
        f"least {signed(primary['lower'])}."
    )


def _rejected(_verdict: Row, primary: Row) -> str:
    return (
        f"Even the upper bound of its gain, {signed(primary['upper'])} {primary['metric']}, lies "
        f"below {_needed(primary)}, with an error rate of {rate(primary)}."
    )


def is_tie(verdict: Row) -> bool:
    """Tell whether candidate and champion would show the same: no evidence changes that."""
    return str(verdict.get("reason")).startswith("identical")


def _held(verdict: Row, primary: Row) -> str:
    broken = "; ".join(failed(verdict.get("guardrails")))
    if is_tie(verdict):
        return "Candidate and champion would show the same, so there is nothing to decide."
    if primary["lower"] is None or primary["lower"] <= -(primary.get("margin") or 0):
        told = (
            f"The gain may be as low as {signed(primary['lower'])} and as high as "
            f"{signed(primary['upper'])} {primary['metric']}; to promote, its lower bound must be "
            f"above {_needed(primary)}."
        )
        return f"{told} It also breaks a guardrail: {broken}." if broken else told
    short = "; ".join(failed(verdict.get("conditions")))
    if short:
        return f"It earned enough on the requests seen, but not surely enough here: {short}."
    further = f"it breaks a guardrail: {broken}" if broken else "a further condition is not met"
    return f"It earns enough by its lower bound, but {further}."


_BECAUSE = {"PROMOTE": _promoted, "REJECT": _rejected}


def _needed(primary: Row) -> str:
    return number(-(primary.get("margin") or 0))
