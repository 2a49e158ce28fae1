"""Say in a few lines what a verdict rests on: the lift with its bounds, pre-checks, guardrails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tessera.contracts.verdict import FORMAT
from tessera.stages.report.hints import hints
from tessera.stages.report.sentences import judged, level


def evidence(verdict: Mapping[str, Any]) -> list[str]:
    """Return the lines; if nothing was estimated, only what can be done about it.

    A verdict of another format is told in one line.
    """
    primary = verdict.get("primary")
    told = [f"to do: {hint}" for hint in hints(verdict)]
    if not primary:
        return told
    if verdict.get("version") != FORMAT:
        return [f"written as format {verdict.get('version')}: what it rests on stands on its page"]
    return [
        judged(verdict),
        _lift(primary, verdict),
        *_spent(verdict.get("look")),
        *_batch(primary, verdict.get("batch") or ()),
        *_beside(verdict.get("conditions") or ()),
        _checks("pre-checks", verdict["prechecks"]),
        _checks("guardrails", verdict["guardrails"]),
        *told,
    ]


def _lift(primary: Mapping[str, Any], verdict: Mapping[str, Any]) -> str:
    estimates = verdict["estimates"]
    relative = primary["relative_lift"]
    share = "" if relative is None else f" ({relative:+.1%})"
    alpha = level(primary)
    return (
        f"{primary['metric']}: champion {estimates['champion']['mean']:.4f}, "
        f"lift {primary['lift']:+.4f}{share}, "
        f"{100 * (1 - alpha):.4g} % bounds "
        f"[{primary['lower']:+.4f}, {primary['upper']:+.4f}], {verdict['n_requests']:,} requests"
    )


def _spent(look: Mapping[str, Any] | None) -> Iterable[str]:
    if look:
        yield (
            f"spent {look['spent']:.3g} of {look['alpha']:.3g} on this log: "
            f"candidate {look['k']}, look {look['look']}"
        )


def _batch(primary: Mapping[str, Any], batch: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    told = [
        f"temperature {row['temperature']:g} {row['decision']}"
        + (_mark(row["decision"]) if row["proposed"] else "")
        for row in batch
    ]
    if told:
        yield (
            f"batch: {len(told)} policies share an error rate of {100 * primary['alpha_k']:.3g} %: "
            + ", ".join(told)
        )


def _beside(rows: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    rows = list(rows)
    if rows:
        yield _checks("lower bounds by investor, of the last third and of the last 30 days", rows)


def _mark(decision: str) -> str:
    return " (proposed)" if decision == "PROMOTE" else " (this verdict)"


def _checks(what: str, rows: Iterable[Mapping[str, Any]]) -> str:
    rows = list(rows)
    unknown = [
        row["name"] + ("" if row["may_lack"] else " (which holds it)")
        for row in rows
        if row["ok"] is None
    ]
    rows = [row for row in rows if row["ok"] is not None]
    failed = [row for row in rows if not row["ok"]]
    but = f", not measured: {', '.join(unknown)}" if unknown else ""
    if not failed:
        return f"{what}: all {len(rows)} hold{but}"
    told = "; ".join(
        f"{row['name']} {row['value']:.4g} vs {row['threshold']:.4g}" for row in failed
    )
    return f"{what}: {len(failed)} of {len(rows)} fail ({told}){but}"
