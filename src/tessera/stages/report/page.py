"""A verdict as one page that a person reads in five minutes, offline, on paper or on a telephone.

The page reads nothing but verdict.json; equal bytes of it give equal bytes of the page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tessera.contracts.pages import templates
from tessera.contracts.tables import EXPOSURES, OUTCOMES
from tessera.stages.report import hints, pictures, sentences, words
from tessera.stages.report.sentences import count, number, percent, signed

Row = Mapping[str, Any]
_TEMPLATE = "verdict.html"
_ROUNDING = 1e-9


def write_page(verdict: Path, page: Path) -> None:
    """Write one HTML file from verdict.json."""
    page.write_text(page_of(verdict))


def page_of(verdict: Path) -> str:
    """Return the page of a verdict.json; it names the hash of what it was made from."""
    written = verdict.read_bytes()
    return render(json.loads(written), hashlib.sha256(written).hexdigest())


def render(verdict: Row, sha256: str) -> str:
    """Return the page of a verdict; `sha256` is that of verdict.json."""
    decision = str(verdict["decision"])
    meaning = words.decision(decision)
    environment = templates("tessera.stages.report")
    environment.filters |= {"number": number, "signed": signed, "count": count}
    environment.filters["percent"] = percent
    return environment.get_template(_TEMPLATE).render(
        decision=decision,
        meaning=meaning,
        follows="" if sentences.is_tie(verdict) else meaning.follows,
        judged=sentences.judged(verdict),
        says=sentences.opening(verdict),
        plain=sentences.because(verdict),
        reason=str(verdict.get("reason") or "none recorded"),
        compared=list(_compared(verdict)),
        batch=verdict.get("batch") or [],
        shared=sentences.shared(verdict),
        profile=verdict.get("profile"),
        unlogged=_unlogged(verdict),
        hints=hints.hints(verdict),
        evidence=_evidence(verdict),
        weights=_weights(verdict.get("weights")),
        prechecks=_checks(verdict.get("prechecks")),
        conditions=_checks(verdict.get("conditions")),
        periods=_periods(verdict.get("periods")),
        guardrails=_checks(verdict.get("guardrails")),
        controls=list(_controls(verdict.get("controls") or {})),
        slices=_slices(verdict.get("slices")),
        inputs={"verdict.json": sha256, **(verdict.get("inputs") or {})},
        log=dict(_log(verdict)),
        settings=verdict.get("params") or {},
        glossary=words.GLOSSARY,
    )


def _unlogged(verdict: Row) -> dict[str, Any] | None:
    """Tell what to log, and what the ranking says; None where something was logged."""
    if verdict.get("primary") or (verdict.get("counts") or {}).get("exposures") != 0:
        return None
    params = verdict.get("params") or {}
    return {
        "tables": [{"name": one.name, "doc": one.doc, "columns": one.columns}
                   for one in (EXPOSURES, OUTCOMES)],
        "window_days": params.get("window_days", 7),
        "min_ess": params.get("min_ess", 1000),
        "ranking": verdict.get("ranking"),
    }  # fmt: skip


def _compared(verdict: Row) -> Iterable[tuple[str, str]]:
    params, span = verdict.get("params") or {}, verdict.get("slices") or {}
    if verdict.get("profile"):
        yield "Profile", str(verdict["profile"])
    itself = params.get("candidate") == "champion"
    told = "the champion itself (A/A)" if itself else "the model just trained"
    identity = verdict.get("candidate")
    yield "Candidate", f"{told}, {identity}" if isinstance(identity, str) else told
    yield "Candidate's policy", words.policy(verdict.get("policy"))
    yield "Champion", str(verdict.get("champion") or "not recorded")
    if verdict.get("champion_policy"):
        yield "Champion's policy", words.policy(verdict["champion_policy"])
    primary = verdict.get("primary")
    if primary:
        yield "Measured by", str(primary["metric"])
        yield "Error rate", _share(primary, bool(verdict.get("batch")))
    yield "Learnt until (the cut)", _moment(verdict.get("cut"))
    if span.get("first") and span.get("last"):
        yield "Judged on", f"{_moment(span['first'])} to {_moment(span['last'])}"
    yield "Requests", count(verdict.get("n_requests"))
    own = verdict.get("champion_served") or {}
    if own.get("requests"):
        told = f"{count(own['requests'])}, of which its replay gives {count(own['as_logged'])}"
        yield "Served by the champion", f"{told} as logged"
    if verdict.get("n_users"):
        yield "Investors", count(verdict["n_users"])


def _share(primary: Row, in_a_batch: bool) -> str:
    share = percent(sentences.level(primary))
    k, alpha = primary["k"], f"{100 * primary['alpha']:g} %"
    if in_a_batch:
        share += f" by Holm's method, within the {percent(primary['alpha_k'])} of its batch"
    return f"{share}: of {alpha} in all, the share of candidate {k} on this log"


def _moment(text: Any) -> str:
    return f"{str(text).replace('T', ' ')[:16]} UTC" if text else "not recorded"


def _evidence(verdict: Row) -> dict[str, Any] | None:
    """Estimates with their pictures; None if nothing was estimated."""
    primary, estimates = verdict.get("primary"), verdict.get("estimates")
    if not primary or not estimates:
        return None
    lifts = _titled(estimates["lift"])
    drawn = [pictures.Estimate(r["title"], r["mean"], r["lower"], r["upper"]) for r in lifts]
    bound = pictures.Estimate("Bound that decides", None, primary["lower"], primary["upper"], True)
    decides = f"{signed(primary['lower'])} to {signed(primary['upper'])}"
    says = f"Lift by {len(lifts)} estimators around zero; the bound that decides is {decides}"
    return {
        "primary": primary,
        "relative": sentences.relative(primary),
        "values": {name: estimates[name] for name in ("champion", "candidate")},
        "lifts": [*lifts, *_titled(estimates.get("top_lift") or {})],
        "rate": sentences.rate(primary),
        "forest": pictures.forest([*drawn, bound], says, "lift per request"),
        "sequence": _sequence(verdict["sequence"], decides),
    }


def _titled(lifts: Row) -> list[dict[str, Any]]:
    """Rows of the table of estimates; one that is new here is told by its name."""
    return [
        {"title": words.ESTIMATORS.get(name, name), "note": words.NOTES.get(name, ""), **found}
        for name, found in lifts.items()
    ]


def _sequence(path: Row, decides: str) -> str:
    says = f"Lower and upper bound of the lift after each request; they end at {decides}"
    return pictures.sequence(path, says, "lift per request")


def _weights(weights: Row | None) -> dict[str, Any] | None:
    if not weights:
        return None
    bins = weights["histogram"]
    says = f"Number of requests by weight, in {len(bins['requests'])} ranges"
    drawn = pictures.histogram(bins["upper_edges"], bins["requests"], says)
    return {**weights, "picture": drawn}


def _checks(rows: Iterable[Row] | None) -> list[dict[str, Any]]:
    """Rows of a table of checks: those that fail, those that could not be made, the rest."""
    told = []
    for row in rows or ():
        rule = words.rule(row["name"])
        told.append({
            "name": row["name"], "title": rule.title, "ok": row["ok"], "value": _value(row),
            "wants": rule.wants.format(number(row["threshold"])),
            "fails": row.get("says", ""),
        })  # fmt: skip
    return sorted(told, key=lambda row: (False, None, True).index(row["ok"]))


def _value(row: Row) -> str:
    """Value of a check; JSON knows neither infinity nor what could not be measured."""
    if row["value"] is None:
        return "unknown" if row["ok"] is None else "no bound"
    return number(row["value"])


def _controls(found: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Rows of the table of controls; one that is new here is told by its numbers."""
    for name, row in found.items():
        if name in _CONTROLS:
            yield _CONTROLS[name](row)
        else:
            told = ", ".join(f"{key} {number(value)}" for key, value in dict(row).items())
            title = name.replace("_", " ").capitalize()
            yield {"title": title, "wants": "no finding", "found": told, "ok": None}


def _same(row: Row) -> dict[str, Any]:
    return {"title": "The candidate against itself", "wants": "no difference on any request",
            "found": f"largest difference {number(row['largest_score'])}",
            "ok": row["largest_score"] <= _ROUNDING}  # fmt: skip


def _permuted(row: Row) -> dict[str, Any]:
    most = row["most_by_luck"]
    return {"title": "Answers dealt out at random",
            "wants": f"at most {most:g} of {row['tried']} promoted: more is no luck",
            "found": f"{row['promoted']} of {row['tried']} promoted",
            "ok": row["promoted"] <= most if row["tried"] else None}  # fmt: skip


def _halves(row: Row) -> dict[str, Any]:
    gap, error = row["difference"], row["stderr"]
    return {"title": "Two random halves of the investors, same policy",
            "wants": "a difference within three standard errors",
            "found": f"{signed(gap)}, standard error {number(error)}",
            "ok": abs(gap) <= 3 * error}  # fmt: skip


_CONTROLS = {"same_policy": _same, "permuted_rewards": _permuted, "random_halves": _halves}


def _slices(found: Row | None) -> dict[str, Any] | None:
    if not found or not found.get("rows"):
        return None
    rows = list(found["rows"])
    drawn = [pictures.Estimate(_short(r), r["mean"], r["lower"], r["upper"]) for r in rows]
    says = f"Lift in {len(rows)} slices around zero, as in the table"
    groups = [{"by": by, "rows": [row for row in rows if row["by"] == by]}
              for by in dict.fromkeys(row["by"] for row in rows)]  # fmt: skip
    picture = pictures.forest(drawn, says, "lift per request")
    return {"min_users": found.get("min_users", 0), "groups": groups, "picture": picture}


def _periods(rows: Iterable[Row] | None) -> dict[str, Any] | None:
    rows = list(rows or ())
    if not rows:
        return None
    drawn = [pictures.Estimate(r["name"], r["mean"], r["lower"], r["upper"]) for r in rows]
    says = f"Lift in {len(rows)} parts of the log around zero, as in the table"
    return {"rows": rows, "picture": pictures.forest(drawn, says, "lift per request")}


def _short(row: Row) -> str:
    return f"risk {row['name']}" if row["by"] == "risk class" else str(row["name"])


def _log(verdict: Row) -> Iterable[tuple[str, Any]]:
    yield from (verdict.get("counts") or {}).items()
    left_out = verdict.get("requests_dropped") or {}
    yield from (("requests dropped: " + key, n) for key, n in left_out.get("reasons", {}).items())
