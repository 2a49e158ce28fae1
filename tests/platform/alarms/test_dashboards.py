"""Evidently's workspace holds a snapshot a day, panels find their values, a log-in guards it."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest

from tessera.contracts.errors import BadInput
from tessera.contracts.series import days
from tessera.platform.cli import dashboards
from tessera.platform.cli.dashboards import LogIn, password_of
from tessera.platform.watching.rules import load_rules
from tessera.platform.workspace import files


@pytest.fixture
def build(planted):
    """Bring the workspace up to date; return how many days were added."""
    from tessera.platform.watching import snapshots

    folder = planted.workspace.data / "dashboards"

    def built():
        found = days(planted.workspace.watched)
        return snapshots.build(folder, "market", found, load_rules(planted.workspace)).added

    built.folder = folder
    return built


def snapshots_in(folder):
    return [files.read_json(path) for path in sorted(folder.glob("*/snapshots/*.json"))]


def values(folder):
    """Value by day, series and slice, as Evidently keeps it."""
    found = {}
    for one in snapshots_in(folder):
        for result in one["metric_results"].values():
            of = result["metric_value_location"]["metric"]["params"]
            found[one["timestamp"][:10], of["series"], of["slice"]] = result["value"]
    return found


def test_each_day_is_a_snapshot_and_each_panel_finds_its_values(planted, build):
    point = planted.point
    for number in range(2):
        planted.day(number, point("gini", value=0.5 + number, threshold=0.8, alarm=False),
                    point("gini", "arm=canary", value=0.7), point("gini", "segment=a", value=0.6),
                    point("gini", "segment=b", hidden=True, value=None),
                    point("propensity.replay_gap", threshold=None, alarm=False))  # fmt: skip
    planted.day(2, status="empty")
    assert build() == 3
    told = values(build.folder)
    assert told["2025-01-02", "gini", "all"] == 1.5
    assert told["2025-01-01", "gini", "threshold"] == 0.8
    assert ("2025-01-01", "gini", "segment=b") not in told
    assert len(snapshots_in(build.folder)) == 3
    (board,) = [files.read_json(path) for path in build.folder.glob("*/dashboard.json")]
    titles = [panel["title"] for panel in board["panels"]]
    assert titles == ["Propensity health", "propensity.replay_gap", "Popularity bias and variety",
                      "gini", "Champion and canary", "gini", "Slices", "gini"]  # fmt: skip
    held = {(series, slice_) for _, series, slice_ in told}
    for panel in board["panels"]:
        for one in panel["values"]:
            assert one["metric"] == "evidently:metric_v2:Watched"
            assert tuple(one["metric_labels"].values()) in held


def test_what_alarmed_stands_first_and_is_marked_on_its_days(planted, build):
    point = planted.point
    for number, value in enumerate((0.5, 0.9, 0.6)):
        beyond = value > 0.8
        planted.day(number, point("coverage", value=0.4, alarm=False),
                    point("propensity.replay_gap", alarm=False),
                    point("gini", value=value, threshold=0.8, alarm=beyond),
                    point("gini", "segment=a", value=value, alarm=beyond))  # fmt: skip
    build()
    (board,) = [files.read_json(path) for path in build.folder.glob("*/dashboard.json")]
    first, gini, coverage, second = board["panels"][:4]
    assert first["title"] == "Popularity bias and variety: alarmed, last on 2025-01-02"
    assert (gini["title"], coverage["title"]) == ("gini", "coverage")
    assert second["title"] == "Propensity health"
    assert [one["legend"] for one in gini["values"]] == ["all", "threshold", "alarm"]
    marked = {of: value for of, value in values(build.folder).items() if of[2] == "alarm"}
    assert marked == {("2025-01-02", "gini", "alarm"): 0.9}


def test_only_what_changed_is_made_again(planted, build):
    for number in range(2):
        planted.day(number, planted.point("gini"))
    assert (build(), build()) == (2, 0)
    planted.day(1, planted.point("gini", value=0.9))
    assert build() == 1
    assert len(snapshots_in(build.folder)) == 2
    assert values(build.folder)["2025-01-02", "gini", "all"] == 0.9
    planted.day(60, planted.point("gini"))
    assert build() == 1
    assert len(snapshots_in(build.folder)) == 1, "days of more than six weeks ago leave"


@pytest.mark.parametrize("harm", ["torn", "gone", "other"])
def test_a_workspace_that_cannot_be_read_is_made_anew(planted, build, harm):
    planted.day(0, planted.point("gini"))
    build()
    made = build.folder / "made.json"
    if harm == "torn":
        made.write_text("{")
    elif harm == "gone":
        made.unlink()
    else:
        made.write_text(json.dumps({"project": "01a22989-260b-7c23-bd30-ac4ce48c4618", "days": {}}))
    assert build() == 1
    assert len(snapshots_in(build.folder)) == 1


def test_a_profile_that_was_never_watched_has_no_dashboards(workspace):
    with pytest.raises(BadInput, match="no day of profile market was watched"):
        dashboards.build(workspace)


def asked(guarded, **headers):
    """Status of an answer, or None if a connection was closed."""
    sent = []

    async def send(message):
        sent.append(message)

    kind = headers.pop("kind", "http")
    scope = {"type": kind, "headers": [(a.encode(), b.encode()) for a, b in headers.items()]}
    asyncio.run(guarded(scope, None, send))
    return sent[0].get("status")


async def open_to_all(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_nothing_is_read_without_the_password():
    guarded = LogIn(open_to_all, "a word")
    assert asked(guarded, authorization=basic("viewer:a word")) == 200
    words = (basic("viewer:another"), basic("a word"), basic(""), "Basic %%%", "Bearer a word", "")
    for wrong in words:
        assert asked(guarded, authorization=wrong) == 401
    assert asked(guarded) == 401
    assert asked(guarded, kind="websocket") is None


def test_the_password_is_of_this_person_alone_and_stays(workspace):
    word, path = password_of(workspace)
    assert len(word) >= 16
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert password_of(workspace) == (word, path)
