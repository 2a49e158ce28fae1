"""A page for each alarm: what alarmed, the evidence, who was told, what was done, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta

from jinja2 import Template

from tessera.contracts.pages import templates
from tessera.platform.release.history import history
from tessera.platform.release.retraining import RETRAIN
from tessera.platform.watching.alarms import number
from tessera.platform.watching.record import Entry, entries
from tessera.platform.watching.snooze import alarm_of
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import Workspace

FOLDER = "incidents"
_SILENCE = timedelta(days=7)
"""What the page suggests to whoever knows of the cause."""


def write(workspace: Workspace, alarm: str) -> None:
    """Write the page of an alarm from what is recorded of it.

    Raises
    ------
    BadParams
        If there is no such alarm.
    """
    lines = entries(workspace)
    found = alarm_of(lines, alarm)
    text = template("incident.html").render(
        alarm=found,
        story=[*story(lines, alarm), *followed(workspace, alarm)],
        profile=workspace.profile,
        silent_until=date.fromisoformat(found["day"]) + _SILENCE,
    )
    files.write_bytes(text.encode(), workspace.watched / FOLDER / f"{alarm}.html")


def story(lines: Iterable[Entry], alarm: str) -> list[tuple[str, str]]:
    """Tell what became of an alarm: when, and what."""
    return [(str(one["at"]), said(one)) for one in lines if one.get("id") == alarm]


def refresh(workspace: Workspace) -> None:
    """Write the pages anew of the alarms that a run was asked for by: it may have ended since."""
    for alarm in {one["id"] for one in entries(workspace) if one.get("action") == RETRAIN}:
        write(workspace, alarm)


def followed(workspace: Workspace, alarm: str) -> list[tuple[str, str]]:
    """Tell when the run ended that an alarm asked for, and with which verdict; else nothing."""
    acts = iter(history(workspace))
    for one in acts:
        if one.get("act") == RETRAIN and str(one["reason"]).startswith(f"alarm {alarm}: "):
            ended = next((other for other in acts if other.get("decision")), None)
            return [] if ended is None else [(str(ended["at"]), _verdict(ended))]
    return []


def _verdict(ended: Entry) -> str:
    moved = ended["to"] != ended["from"]
    became = f"published as {ended['to']}" if moved else f"{ended['from']} stays"
    return f"the run that followed: {ended['decision']}, {became} ({ended['reason']})"


def said(one: Entry) -> str:
    """Say one line of the record for people."""
    return _SAID[str(one["kind"])](one)


def _raised(one: Entry) -> str:
    if one["past"]:
        return "recorded; its day was over for too long, so nobody was told and nothing done"
    return f"recorded; silent: {one['snoozed']}" if one["snoozed"] else "raised"


def _acted(one: Entry) -> str:
    what = str(one["action"]).replace("_", " ")
    return f"{what}: {one['says']}" if one["done"] else f"no {what}: {one['says']}"


_SAID: Mapping[str, Callable[[Entry], str]] = {
    "alarm": _raised,
    "action": _acted,
    "snooze": lambda one: f"silent until {one['until']}: {one['reason']}",
    "telling": lambda _: "the webhook is told",
    "told": lambda one: (
        f"the webhook {one['says']}"
        + ("" if one["taken"] else ": nobody knows if it was taken, it is not told again")
    ),
    "untold": lambda one: (
        f"the webhook {one['says']} after {one['tries']} tries: the next run of this day tells it"
    ),
}


def template(name: str) -> Template:
    """Return a template of this package, with the filters of its pages."""
    environment = templates("tessera.platform.watching")
    environment.filters["number"] = number
    return environment.get_template(name)
