"""The page that people open: trends over weeks, what alarmed and why, what moved; no script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tessera.contracts.errors import BadInput
from tessera.contracts.series import EMPTY, Day, days
from tessera.platform.release.exploration import explores
from tessera.platform.release.history import history
from tessera.platform.watching.chronicle import Answering, Line, chronicle
from tessera.platform.watching.day import SPEC
from tessera.platform.watching.exposition import write_figures
from tessera.platform.watching.impact import Impact, impact
from tessera.platform.watching.incidents import followed, refresh, said, story, template
from tessera.platform.watching.record import entries
from tessera.platform.watching.rules import Rules, load_rules
from tessera.platform.watching.trends import Chart, Dated, by_series, chart
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace
from tessera.stages.daily.spec import load_spec

WEEKS = 6
"""So far back the page goes."""
PAGE = "index.html"
_OF_OUTCOMES = "response"
"""Family of what came of slates, which is known `outcome_days` later."""
SAYS: Mapping[str, tuple[str, str]] = {
    "suitability": ("Suitability", "Nothing that does not suit may be shown, to anybody."),
    "propensities": (
        "Propensity health",
        "What is logged must say how likely it was: else no verdict may rest on it.",
    ),
    "policies": (
        "Who answered",
        "Slates of policies whose bundles are not here: no verdict may rest on them.",
    ),
    "skew": ("Training and serving", "Scores as they were served, against what the bundle gives."),
    "response": (
        "What investors did",
        "With what was shown, as far as it is known a day or so later: a figure tells of the day "
        "before.",
    ),
    "events": ("Who makes what happens", "Shares of the busiest, and events that fit no slate."),
    "drift": (
        "Drift of inputs and scores",
        "How far a day lies from the days before it, as the size of an effect.",
    ),
    "popularity": (
        "Popularity bias and variety",
        "Whether lists lean on what is popular already, and how much of the catalogue they show.",
    ),
    "freshness": ("Freshness", "How old model and prices were when slates were shown."),
    "codes": ("Semantic IDs", "Of the bundle that answered most."),
    "operations": ("Operations", "Time, errors and what had to be filled in."),
    "other": ("Other series", "What no other family takes."),
}
"""Title and meaning of each family; one that is not here goes by its name."""


@dataclass(frozen=True, slots=True)
class _Shown:
    title: str
    says: str
    charts: list[Chart]


def leave(workspace: Workspace) -> Path:
    """Leave what people and Prometheus look at; return the page.  See `write_page`."""
    path = write_page(workspace)
    refresh(workspace)
    write_figures(workspace, days(workspace.watched)[-1])
    return path


def write_page(workspace: Workspace) -> Path:
    """Write the page of all days that were watched lately; return where it lies.

    Raises
    ------
    BadInput
        If no day was watched yet.
    BadParams
        If the rules are wrong.
    """
    found, rules = recent(days(workspace.watched)), load_rules(workspace)
    if not found:
        raise BadInput(f"no day of profile {workspace.profile} was watched: run `tessera monitor`")
    lines = entries(workspace)
    first, last = found[0].day, found[-1].day
    measured = by_series(found)
    answering = Answering.of(found)
    alarms = [one for one in lines if one.get("kind") == "alarm" and str(first) <= one["day"]]
    impacts = _impacts(alarms, measured)
    text = template("watched.html").render(
        profile=workspace.profile,
        days=len(found),
        empty=sum(day.status == EMPTY for day in found),
        first=first,
        last=last,
        watched=len(measured),
        is_empty=found[-1].status == EMPTY,
        remarks=found[-1].remarks,
        served=answering.begins(),
        stopped=not explores(workspace),
        today=[one for one in alarms if one["day"] == str(last)],
        happened=chronicle(
            answering, alarms, list(_done(workspace, alarms, lines)), history(workspace)
        ),
        causes=_causes(alarms, lines),
        impacts=impacts,
        open=[family for family, one in impacts.items() if one.is_open],
        clues=_clues(workspace, impacts, answering),
        families=list(_families(measured, rules, found, answering)),
        movers=_movers(found, impacts),
    )
    path = workspace.watched / PAGE
    files.write_bytes(text.encode(), path)
    return path


def recent(found: Sequence[Day]) -> list[Day]:
    """Return the days of the last weeks before the newest."""
    return [day for day in found if (found[-1].day - day.day).days < 7 * WEEKS]


def _families(
    measured: Mapping[str, Mapping[str, Dated]],
    rules: Rules,
    found: Sequence[Day],
    answering: Answering,
) -> Iterable[_Shown]:
    first, last = found[0].day, found[-1].day
    begins = [day for _, day in answering.begins() if day > first]
    for family in rules.families:
        mine = [name for name in sorted(measured) if rules.family_of(name) == family]
        drawn = [chart(name, measured[name], first, last, begins) for name in mine]
        charts = [one for one in drawn if one is not None]
        if charts:
            yield _Shown(*SAYS.get(family, (family, "")), charts)


def _done(
    workspace: Workspace, alarms: Iterable[Mapping[str, Any]], lines: Iterable[Mapping[str, Any]]
) -> Iterable[Line]:
    """Say what was done, of which alarm, and what came of it."""
    raised = {one["id"]: one for one in alarms}
    for one in lines:
        if one.get("id") in raised and one["kind"] == "action" and one["done"]:
            alarm = raised[one["id"]]
            then = "".join(f"; {what}" for _, what in followed(workspace, str(one["id"])))
            why = f"{said(one)}, as {alarm['says']}{then}"
            yield Line(date.fromisoformat(alarm["day"]), "act", why)


def _clues(
    workspace: Workspace, impacts: Mapping[str, Impact], answering: Answering
) -> dict[str, str]:
    """Say of each family what the versions tell of its alarms."""
    known_after = timedelta(days=load_spec(workspace.root / SPEC).outcome_days)
    return {
        family: answering.clue(
            one.first, one.last, known_after if family == _OF_OUTCOMES else timedelta()
        )
        for family, one in impacts.items()
    }


def _movers(found: Sequence[Day], impacts: Mapping[str, Impact]) -> list[tuple[date, list[Any]]]:
    """Return what moved most on the last day, and on the first of what alarmed last."""
    moved = [day for day in found if day.movers()]
    began = next((one.first for one in impacts.values()), None)
    return [(day.day, day.movers()) for day in moved if day in moved[-1:] or day.day == began]


def _causes(
    alarms: Iterable[Mapping[str, Any]], lines: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Lay out each cause once: its alarms, the newest of them, and what was done."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for one in sorted(alarms, key=lambda one: str(one["day"])):
        found.setdefault(str(one["cause"]), []).append(one)
    causes = [
        {
            "newest": mine[-1],
            "alarms": [(one["day"], one["id"]) for one in mine],
            "then": _then(mine, lines),
        }
        for mine in found.values()
    ]
    return sorted(causes, key=lambda one: str(one["newest"]["day"]), reverse=True)


def _impacts(
    alarms: Iterable[Mapping[str, Any]], measured: Mapping[str, Mapping[str, Dated]]
) -> dict[str, Impact]:
    """Follow by family the series that alarmed surest most often, the last to begin first."""
    by: dict[str, list[Mapping[str, Any]]] = {}
    for one in alarms:
        by.setdefault(str(one["family"]), []).append(one)
    found = {}
    for family, mine in by.items():
        surest = Counter(str(one["evidence"][0]["series"]) for one in mine)
        series = max(sorted(surest), key=lambda name: surest[name])
        if series in measured:
            alarmed = [date.fromisoformat(one["day"]) for one in mine]
            found[family] = impact(series, measured[series], alarmed)
    return dict(sorted(found.items(), key=lambda one: one[1].first, reverse=True))


def _then(mine: Sequence[Mapping[str, Any]], lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say on which days something was done, and what became of the newest alarm."""
    ids = {one["id"]: one for one in mine[:-1]}
    acts = [
        f"{ids[one['id']]['day']}: {said(one)} ({ids[one['id']]['says']})"
        for one in lines
        if one.get("id") in ids and one["kind"] == "action" and one["done"]
    ]
    newest = [what for what in story(lines, str(mine[-1]["id"])) if what[1] not in _PLAIN]
    return [*acts, *(f"{mine[-1]['day']}: {what}" for _, what in newest)] or [
        "recorded; no rule asks for more"
    ]


_PLAIN = ("raised", "the webhook is told")
"""What goes without saying where it is said that something alarmed."""
