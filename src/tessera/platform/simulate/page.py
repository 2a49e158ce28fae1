"""One page about a simulation: self-contained, offline, for paper and telephone too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tessera.contracts.pages import templates
from tessera.platform.simulate import words
from tessera.platform.simulate.plan import SAYS
from tessera.platform.workspace import files
from tessera.stages.report.pictures import Line, trend

Row = Mapping[str, Any]
PAGE = "simulation.html"


def write_page(found: Row, folder: Path) -> Path:
    """Write the page of a simulation into a folder, and return where."""
    path = folder / PAGE
    files.write_bytes(render(found).encode(), path)
    return path


def render(found: Row) -> str:
    """Return the page; equal results give equal bytes."""
    return (
        templates("tessera.platform.simulate")
        .get_template(PAGE)
        .render(
            plan=found["plan"],
            happens=SAYS[found["plan"]["scenario"]],
            change_day=found["change"]["day"] + 1 if found["change"] else None,
            sentences=[
                one(found) for one in (words.total, words.promotions, words.change, words.acts)
            ],
            pictures=list(_pictures(found)),
            days=[{**day, "alarms": _by_series(day["alarms"])} for day in found["days"]],
            runs=found["runs"],
            acts=found["acts"],
            watched=found["watched"],
        )
    )


def _by_series(alarms: Sequence[str]) -> list[str]:
    """Lay alarms out by series, each with how many slices alarm beside everybody.

    >>> _by_series(["gini (all)", "gini (segment=mass)", "click_rate (all)"])
    ['gini (all and 1 slice)', 'click_rate (all)']
    """
    found: dict[str, list[str]] = {}
    for one in alarms:
        series, _, of = one.partition(" ")
        found.setdefault(series, []).append(of.strip("()"))
    return [f"{series} ({_slices(of)})" for series, of in found.items()]


def _slices(of: Sequence[str]) -> str:
    parts = len([one for one in of if one != "all"])
    if "all" not in of:
        return ", ".join(of)
    return "all" + (f" and {parts} slice{'s' if parts > 1 else ''}" if parts else "")


def _pictures(found: Row) -> list[tuple[str, str]]:
    days, day_D = found["days"], [day["day"] + 1 for day in found["days"]]
    back = [act for act in found["acts"] if act["act"] == "rollback"]
    marks = {run["day"] + 1.5: run["published"] for run in found["runs"] if run["published"]}
    marks |= {act["day"] + 1.5: act["to"] for act in back}
    change = found["change"]["day"] + 0.5 if found["change"] else None

    def drawn(says: str, axis: str, **lines: str) -> tuple[str, str]:
        told = [Line(label, [day[name] for day in days]) for name, label in lines.items()]
        return trend(day_D, told, says, axis, marks=marks, change=change), says

    return [
        drawn("Expected responses a request, by the planted probabilities; one who knows stands in "
              "the table", "value",
              value="served", house="policy of the log", best_fixed="best fixed"),
        drawn("Which part of what can be gained over the policy of the log is attained",
              "attained", attained="attained"),
        drawn("How unevenly items are shown: Gini index of what was shown", "gini", gini="gini"),
    ]  # fmt: skip
