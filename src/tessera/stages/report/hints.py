"""What a person may turn when a verdict is not the one that was hoped for, and why that is honest.

A hint never says how to loosen the gate: it says what would give the log an answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tessera.contracts.verdict import OF_CHAMPION

Row = Mapping[str, Any]
_SERVE = "let the champion serve (its policy was published with it, and no param here changes it)"


def hints(verdict: Row) -> list[str]:
    """Say one line for each check that fails and that something can be done about."""
    if verdict.get("decision") == "PROMOTE":
        return []
    rows = [*(verdict.get("prechecks") or ()), *(verdict.get("guardrails") or ())]
    told = [_HINTS[row["name"]](row, verdict) for row in rows if _fails(row)]
    if verdict.get("decision") == "HOLD" and not told:
        told += list(_more_requests(verdict))
    return told


def _fails(row: Row) -> bool:
    return row["ok"] is False and row["name"] in _HINTS


def _ess(row: Row, verdict: Row) -> str:
    have, wanted, requests = row["value"], row["threshold"], verdict.get("n_requests") or 0
    more = ""
    if have and requests:
        more = f", about {math.ceil(wanted * requests / have / 100) * 100:,} in all"
    whose, mend = "this candidate", _closer(verdict)
    if _is_champions(row):
        whose, mend = "the champion", _SERVE
    return (
        f"{requests:,} requests after the cut are worth {have or 0:,.0f} to {whose}, "
        f"{wanted:,.0f} are needed: log more{more} (synth.requests in the simulated market), cut "
        f"earlier (ingest.cut), or {mend}"
    )


def _closer(verdict: Row) -> str:
    judged = verdict.get("policy") or verdict.get("params") or {}  # of a batch, the one told of
    return (
        "serve closer to what was logged: raise ope.temperature (judged at "
        f"{judged.get('temperature', 0):g}), show shorter slates (synth.slate_size)"
    )


def _share(row: Row, _: Row) -> str:
    mend = _SERVE if _is_champions(row) else "raise ope.temperature"
    return f"log more, or {mend}, so that no request weighs so much"


def _is_champions(row: Row) -> bool:
    return str(row.get("says", "")).startswith(OF_CHAMPION)


def _codes(row: Row, _: Row) -> str:
    return (
        f"codes tell {100 * (row['value'] or 0):.0f} % of the items apart, "
        f"{100 * row['threshold']:.0f} % are needed: raise sid.codebook_size or sid.levels, and "
        "sid.generation with it; items that share every word and neighbour cannot be told apart: "
        "give them text"
    )


def _collisions(row: Row, _: Row) -> str:
    return (
        f"{100 * (row['value'] or 0):.0f} % of the items share a code: raise sid.codebook_size or "
        "sid.levels, and sid.generation with it; `tessera sid --page` names the worst collisions"
    )


def _more_requests(verdict: Row) -> Iterable[str]:
    """Say how many requests would decide, if the lift stays what it is."""
    primary, requests = verdict.get("primary") or {}, verdict.get("n_requests") or 0
    lift, lower = primary.get("lift") or 0.0, primary.get("lower")
    needed = -(primary.get("margin") or 0.0)
    if lower is None or lower > needed or lift <= needed or not requests:
        return
    more = requests * ((lift - lower) / (lift - needed)) ** 2
    yield (
        f"if the lift stays {lift:+.4f}, about {math.ceil(more / 1000) * 1000:,} requests after "
        f"the cut would decide it, {requests:,} there are: log on, or cut earlier (ingest.cut)"
    )


def _said(text: str) -> Callable[[Row, Row], str]:
    return lambda _row, _verdict: text


_HINTS: Mapping[str, Callable[[Row, Row], str]] = {
    "ess": _ess,
    "sid_capacity": _codes,
    "sid_collisions": _collisions,
    "sid_use": _said(
        "lower sid.codebook_size, or train longer (sid.epochs) if the quantizer is rqvae, and "
        "raise sid.generation with it"
    ),
    "sid_told_apart": _said(
        "lower sid.codebook_size, or let blocks of the vector weigh that tell items apart "
        "(sid.content_weight), and raise sid.generation with it"
    ),
    "sid_survival": _said(
        "take sid.quantizer rkmeans, or fewer sid.levels, and raise sid.generation with it: "
        "`tessera sid --page` shows which level moves; where it is unknown, let "
        "sid.content_weight or sid.neighbourhood_weight be above 0"
    ),
    "unsupported_mass": _said(
        "give every candidate a chance when logging (synth.epsilon in the simulated market): what "
        "could never be shown cannot be judged"
    ),
    "mean_weight_z": _said(
        "log the very probability that each item was drawn with, given the items above; estimated "
        "or rounded ones do not do"
    ),
    "largest_share": _share,
    "requests_dropped": _said(
        "log every position of every slate; requests_dropped in verdict.json counts what was wrong"
    ),
    "champion_has_seen": _said(
        "cut after what the champion learnt from (ingest.cut), or wait for requests"
    ),
    "champion_as_served": _said(
        "tell the service events, closes and classes of investors when they happen, and read the "
        "log with the tables that it knew: `tessera served --replay` names the first slate that "
        "does not come out"
    ),
    "sums_not_one": _said("log the probability of every candidate at every position: they add up"),
    "outside_candidates": _said("log all that could have been shown in candidate_ids"),
    "duplicate_exposures": _said("export each position of a request once"),
    "duplicate_outcomes": _said("export each outcome once"),
    "calibration_error": _said("train longer (hstu.epochs), or on more logged slates"),
    "coverage_kept": _said("raise ope.temperature, so that more items are shown"),
    "gini_rise": _said("raise ope.temperature, so that more items are shown"),
    "top_share_rise": _said("raise ope.temperature, so that the most shown take less"),
    "unserved_effects": _said("set hstu.uplift_weight to 0: a bundle carries no effects"),
}
