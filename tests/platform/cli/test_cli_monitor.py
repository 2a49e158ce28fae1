"""`tessera monitor` says what alarms and what was odd, and a slip of the days is one line."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from typer.testing import CliRunner

from tessera.contracts.errors import BadInput
from tessera.contracts.series import Point, read_day, write_day
from tessera.platform.cli import cli_monitor
from tessera.platform.cli.cli import app
from tessera.platform.watching import day as watching
from tessera.platform.watching import raising

RUN = CliRunner()


@pytest.fixture
def measured(workspace, monkeypatch):
    """Days in which two series are judged and one of them alarms; the days that were asked."""
    asked = []

    def watch_day(where, day):
        asked.append(day)
        folder = where.watched / day.isoformat()
        folder.mkdir(parents=True)
        points = [
            Point("gini", "all", 0.61, 0.6, 0.62, 90, 30, 0.55, "above", 1e-9, alarm=True),
            Point("click_rate", "all", 0.2, 0.1, 0.3, 90, 30, 0.4, "above", 0.9),
        ]
        told = {"status": "measured", "remarks": ["Several policies answered."], "inputs": {}}
        write_day(folder, day, points, [], told)
        return read_day(folder)

    monkeypatch.setattr(cli_monitor, "open_workspace", lambda profile: workspace)
    monkeypatch.setattr(watching, "watch_day", watch_day)
    return asked


def call(*words):
    found = RUN.invoke(app, ["monitor", *words], standalone_mode=False)
    if found.exception:
        raise found.exception
    return found.stdout


def test_a_day_is_told_with_its_alarms_and_remarks(measured):
    said = call("--day", "2025-01-30")
    assert measured == [date(2025, 1, 30)]
    assert "2025-01-30: 1 alarms" in said
    assert "  gini of all: 0.61, above 0.55" in said
    assert "click_rate" not in said
    assert "  Several policies answered." in said


def test_all_days_until_another_are_measured_in_order(measured):
    call("--day", "2025-01-30", "--until", "2025-02-02")
    assert [str(one) for one in measured] == [
        "2025-01-30", "2025-01-31", "2025-02-01", "2025-02-02",
    ]  # fmt: skip


@pytest.mark.parametrize("until", ["2025-01-29", "2027-01-30"])
def test_days_that_run_backwards_or_for_years_are_refused(until, measured):
    with pytest.raises(BadInput, match="is not within 400 days from --day 2025-01-30"):
        call("--day", "2025-01-30", "--until", until)
    assert measured == []


@pytest.mark.parametrize("day", ["2025-01-29", "2025-01-30", "2062-01-30"])
def test_a_day_that_is_not_over_by_the_clock_of_the_service_is_not_measured(
    day, measured, monkeypatch
):
    """Half a day would alarm and act as if it were whole."""
    now = datetime(2025, 1, 29, 23, 59, tzinfo=UTC)
    monkeypatch.setattr(raising, "served_now", lambda _: now)
    with pytest.raises(BadInput, match=f"{day} is not over by .* says 2025-01-29 23:59 UTC"):
        call("--day", day)
    assert measured == []
    call("--day", "2025-01-28")
    assert measured == [date(2025, 1, 28)]
