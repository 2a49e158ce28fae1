"""The document as one HTML file: read offline, on paper or on a telephone.

The same history, bundles and watched days give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tessera.contracts.pages import templates
from tessera.platform.dossier.gather import Act, Told, Version
from tessera.platform.dossier.parts import PARTS

_TEMPLATE = "dossier.html"
_RANKING = ("hr_10", "ndcg_10", "recall_50", "coverage_10", "gini_10", "roi_10")
"""Figures of ranking that are shown, as evaluate calls them."""
_SLICE = "ndcg_10"
"""Figure that is shown for each slice."""
_SERVED = "hstu"
"""Row of the ranking that is the candidate."""


def render(told: Told) -> str:
    """Return the document."""
    environment = templates("tessera.platform.dossier")
    environment.filters |= {"number": _number, "moment": _moment}
    return environment.get_template(_TEMPLATE).render(
        told=told,
        parts=PARTS,
        missing=[(part, one) for part in PARTS for one in part.missing],
        models=[one for one in told.versions if one.is_model],
        approvals=[_row(act) for act in told.acts if _asks_a_person(act)],
        changes=[_row(act) for act in told.acts],
        cards={one.name: list(_card(one)) for one in told.versions},
        findings={one.name: list(_findings(one)) for one in told.versions},
        rankings={one.name: list(_ranking(one)) for one in told.versions},
        figures=_RANKING,
        slices={one.name: list(_slices(one)) for one in told.versions},
        slice_figure=_SLICE,
        limits={one.name: list(_limits(one)) for one in told.versions},
    )


def _card(version: Version) -> Iterator[tuple[str, Any]]:
    """Say how a version was built; None is missing."""
    sealed, split, model = version.sealed, version.split, version.model
    policy = version.verdict.get("policy")
    yield "identity", sealed.get("identity")
    yield "published", _moment(sealed.get("published_at"))
    yield "git revision", sealed.get("git_revision")
    yield "SHA-256 of dvc.lock, which names data, params and code", sealed.get("dvc_lock_sha256")
    yield "learnt from what happened until (the cut)", split.get("cut")
    yield "chosen on what happened from", split.get("validation_from")
    yield "judged on what happened until", split.get("test_until")
    yield "sequence model", model.get("kind")
    yield (
        "blocks, width, history",
        ", ".join(str(model[name]) for name in ("blocks", "width", "length") if name in model),
    )
    yield "feature groups", ", ".join(model.get("feature_groups", ()))
    yield (
        "slate policy",
        policy
        and (
            f"temperature {policy['temperature']:g}, epsilon {policy['epsilon']:g} over the top "
            f"{policy['top_k']} of {policy['candidates']}"
        ),
    )


def _findings(version: Version) -> Iterator[tuple[str, Any]]:
    """Say what the verdict found; None is missing."""
    verdict = version.verdict
    primary: Mapping[str, Any] = verdict.get("primary") or {}
    yield "decision", verdict.get("decision")
    yield "reason", verdict.get("reason")
    yield "SHA-256 of the verdict", version.sealed.get("verdict_sha256")
    yield "measured by", primary.get("metric")
    yield "lift per request", primary.get("lift")
    yield "its anytime-valid lower bound", primary.get("lower")
    yield "its upper bound", primary.get("upper")
    yield "error rate of each bound", primary.get("level")
    yield "requests", verdict.get("n_requests")
    yield "investors", verdict.get("n_users")


def _asks_a_person(act: Act) -> bool:
    return bool(
        act.facts.get("approver") or act.facts.get("override_reason")
        or act.facts["act"] in ("wait", "hold", "rollback")
    )  # fmt: skip


def _row(act: Act) -> dict[str, Any]:
    facts = act.facts
    told = ("n", "at", "act", "who", "approver", "decision")
    return {
        **{name: facts.get(name) or "" for name in told},
        "to": facts.get("to") or facts.get("version") or "",
        "against": bool(facts.get("override_reason")),
        "reason": facts.get("override_reason") or facts.get("reason") or "",
        "sha256": act.sha256,
    }


def _ranking(version: Version) -> Iterator[tuple[str, list[float | None]]]:
    """Give the candidate first, then each baseline, with the figures that it has."""
    models: Mapping[str, Any] = version.ranking.get("models", {})
    for name in sorted(models, key=lambda name: (name != _SERVED, name)):
        yield name, [models[name].get(figure) for figure in _RANKING]


def _slices(version: Version) -> Iterator[tuple[str, int | None, float | None]]:
    """Give for each slice of investors or items who is in it, and the candidate's quality."""
    for name, told in version.ranking.get("slices", {}).items():
        found = (told["models"] or {}).get(_SERVED) or {}  # none where nobody is in it
        yield name.replace("_", " "), told["users"], found.get(_SLICE)


def _limits(version: Version) -> Iterator[str]:
    """Say what the verdict itself names as a limit."""
    verdict = version.verdict
    for row in (*verdict.get("prechecks", ()), *verdict.get("guardrails", ()),
                *verdict.get("conditions", ())):  # fmt: skip
        if row.get("ok") is None:
            yield f"{row['name'].replace('_', ' ')} was not measured"
        elif not row["ok"]:
            yield f"{row['name'].replace('_', ' ')} failed: {row['says']}"
    for one in verdict.get("loosened", ()):
        yield f"a limit of the gate was loosened for it: {one}"
    if "primary" in verdict and verdict.get("n_users"):
        yield (
            f"judged on {verdict['n_users']:,} investors and {verdict['n_requests']:,} requests of "
            "one log: what other investors would do is not known"
        )


def _number(value: object) -> str:
    """Write a figure with four digits; a missing one as a dash.

    >>> _number(0.123456), _number(None), _number(12345)
    ('0.1235', '-', '12,345')
    """
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _moment(text: str | None) -> str:
    """Write a moment of the history to the minute."""
    return "now" if text is None else str(text)[:16].replace("T", " ")
