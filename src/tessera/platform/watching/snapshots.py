"""Evidently's workspace of the watched days, and its UI: the one module here that calls it.

One project a profile, one snapshot a day, one metric for each series and slice that panels draw.
What changed since is made anew, so that the workspace can be thrown away.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from tessera.contracts.series import ALL, Day, Point
from tessera.platform.watching.page import SAYS, recent
from tessera.platform.watching.rules import Rules
from tessera.platform.watching.trends import ARM
from tessera.platform.workspace import files

os.environ["DO_NOT_TRACK"] = "1"  # read once, at import
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the library still imports what others deprecated
    from evidently import DataDefinition, Dataset, Report
    from evidently.core.metric_types import SingleValue, SingleValueCalculation, SingleValueMetric
    from evidently.legacy.renderers.html_widgets import CounterData, counter
    from evidently.sdk.models import (
        DashboardModel,
        DashboardPanelPlot,
        DashboardTabModel,
        PanelMetric,
    )
    from evidently.sdk.panels import line_plot_panel, text_panel
    from evidently.ui.workspace import Project, Workspace

THRESHOLD, ALARM = "threshold", "alarm"
"""Stand for slices: from where on the series is bad, and its value on days on which it alarmed."""
_MADE = "made.json"
_METRIC = "Watched"


class Watched(SingleValueMetric):  # type: ignore[misc]
    """One series of one slice; Evidently keeps it under the name of this class."""

    series: str
    slice: str


class WatchedCalculation(SingleValueCalculation[Watched]):  # type: ignore[misc]
    """Hands the value on; Evidently finds it by its type parameter."""

    def calculate(
        self,
        context: Any,  # noqa: ARG002  the signature is Evidently's
        current_data: Dataset,
        reference_data: Dataset | None,  # noqa: ARG002
    ) -> tuple[SingleValue, None]:
        """Return the value of the day."""
        row = current_data.as_dataframe()
        told = self.result(float(row[_column(self.metric.series, self.metric.slice)].iloc[0]))
        told.widget = []
        if self.metric.slice == ALL:
            shown = [CounterData.float(self.metric.series, told.value, 4)]
            told.widget = [counter(title=self.display_name(), counters=shown)]
        return told, None

    def display_name(self) -> str:
        """Title in the report of a day."""
        return f"{self.metric.series} of {self.metric.slice}"


@dataclass(frozen=True, slots=True)
class Built:
    """A workspace that is up to date."""

    folder: Path
    days: int
    added: int
    """Days that were not there, or another."""


def build(folder: Path, profile: str, found: Sequence[Day], rules: Rules) -> Built:
    """Bring a workspace up to date with the days of the last weeks.

    Parameters
    ----------
    folder : Path
        Of the workspace; made if it is not there, made anew if it cannot be read.
    profile : str
        Name of the project.
    found : Sequence[Day]
        All days that were watched, the oldest first.
    rules : Rules
        Families of series, by which panels are ordered.
    """
    shown = recent(found)
    wanted = {str(day.day): str(day.facts["files"]["series.parquet"]) for day in shown}
    workspace, project, made = _opened(folder, profile)
    stale = [name for name, (sha256, _) in made.items() if wanted.get(name) != sha256]
    for name in stale:
        workspace.delete_run(project.id, made.pop(name)[1])
    new = [day for day in shown if str(day.day) not in made]
    for day in new:
        made[str(day.day)] = [wanted[str(day.day)], _add(workspace, project, day)]
        files.write_json({"project": str(project.id), "days": made}, folder / _MADE)
    _lay_out(workspace, project, shown, rules)
    return Built(folder, len(shown), len(new))


def application(folder: Path) -> Any:
    """Return Evidently's UI on a workspace, as an ASGI application."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently.ui.service.app import create_app, get_config

        return create_app(get_config(workspace=str(folder)))


def _opened(folder: Path, profile: str) -> tuple[Workspace, Project, dict[str, list[str]]]:
    """Open a workspace that this module made; any other one is made anew."""
    try:
        told = files.read_json(folder / _MADE)
        project = Workspace(str(folder)).get_project(told["project"])
        if project is not None and project.name == profile:
            return Workspace(str(folder)), project, dict(told["days"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    files.remove(folder)
    folder.mkdir(parents=True)
    workspace = Workspace.create(str(folder))
    return workspace, workspace.create_project(profile), {}


def _add(workspace: Workspace, project: Project, day: Day) -> str:
    values = dict(_values(day.points()))
    if not values:
        values = {("slates", ALL): 0.0}
    row = pd.DataFrame({_column(*of): [value] for of, value in values.items()})
    data = Dataset.from_pandas(row, data_definition=DataDefinition())
    metrics = [Watched(series=series, slice=slice_) for series, slice_ in values]
    moment = datetime.combine(day.day, datetime.min.time(), UTC).replace(tzinfo=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = Report(metrics).run(data, None, timestamp=moment, name=str(day.day))
        return str(workspace.add_run(project.id, run, include_data=False).id)


def _values(points: Iterable[Point]) -> Iterator[tuple[tuple[str, str], float]]:
    for one in points:
        if one.value is not None:
            yield (one.series, one.slice), one.value
        if one.slice == ALL and one.threshold is not None:
            yield (one.series, THRESHOLD), one.threshold
        if one.slice == ALL and one.alarm and one.value is not None:
            yield (one.series, ALARM), one.value


def _column(series: str, slice_: str) -> str:
    return f"{series}\n{slice_}"


def _lay_out(workspace: Workspace, project: Project, shown: Sequence[Day], rules: Rules) -> None:
    """Write the panels anew: a heading and its panels for each family, the arms, the slices.

    Families that alarmed stand first, the latest before all.  Evidently knows tabs, and its UI
    shows none.
    """
    slices: dict[str, set[str]] = {}
    alarmed: dict[str, str] = {}
    for day in shown:
        for series, slice_ in dict(_values(day.points())):
            slices.setdefault(series, set()).add(slice_)
            if slice_ == ALARM:
                alarmed[rules.family_of(series)] = str(day.day)
    panels = [*_of_families(slices, alarmed, rules), *_of_parts(slices)]
    tab = DashboardTabModel(title=project.name, panels=[one.id for one in panels])
    workspace.save_dashboard(project.id, DashboardModel(tabs=[tab], panels=panels))


def _of_families(
    slices: Mapping[str, set[str]], alarmed: Mapping[str, str], rules: Rules
) -> Iterator[DashboardPanelPlot]:
    for family in sorted(rules.families, key=lambda one: alarmed.get(one, ""), reverse=True):
        mine = [one for one in sorted(slices) if rules.family_of(one) == family]
        mine.sort(key=lambda one: ALARM not in slices[one])
        if mine:
            title, says = SAYS.get(family, (family, ""))
            told = f"{title}: alarmed, last on {alarmed[family]}" if family in alarmed else title
            yield text_panel(told, says)
        for series in mine:
            marks = [one for one in (THRESHOLD, ALARM) if one in slices[series]]
            yield _lines(series, [ALL, *marks])


def _of_parts(slices: Mapping[str, set[str]]) -> Iterator[DashboardPanelPlot]:
    for title, says, is_mine in (
        ("Champion and canary", "Investors of each arm, beside everybody.", _is_arm),
        ("Slices", "Segments, risk classes, new and known investors.", _is_part),
    ):
        mine = {name: sorted(filter(is_mine, of)) for name, of in sorted(slices.items())}
        if any(mine.values()):
            yield text_panel(title, says)
        for series, parts in mine.items():
            if parts:
                yield _lines(series, [ALL, *parts])


def _is_arm(name: str) -> bool:
    return name.startswith(ARM)


def _is_part(name: str) -> bool:
    return name not in (ALL, THRESHOLD, ALARM) and not _is_arm(name)


def _lines(series: str, slices: Sequence[str]) -> DashboardPanelPlot:
    lines = [
        PanelMetric(legend=one, metric=_METRIC, metric_labels={"series": series, "slice": one})
        for one in slices
    ]
    return line_plot_panel(series, lines, size="half")
