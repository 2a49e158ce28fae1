"""`tessera monitor`, `alarms` and `exploration` as a person types them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from tessera.contracts.series import Point, read_day, write_day
from tessera.platform.release.history import history
from tessera.platform.watching import day as measuring
from tessera.platform.watching import record
from tessera.platform.workspace import files

FIRST = date(2025, 1, 1)


def point(series, *, alarm=True):
    return Point(series, "all", 0.4, 0.3, 0.5, 4000, 900, 0.1, "above", 1e-5, alarm)


def write(workspace, day, *points):
    """A day as it is measured."""
    folder = workspace.watched / day.isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    write_day(folder, day, points, [], {"status": "measured", "remarks": [], "inputs": {}})
    return read_day(folder)


@pytest.fixture
def watched(workspace, monkeypatch):
    """Two days of drift and a quiet one, at a clock that stands an hour after them."""

    def measured(workspace, day):
        return write(workspace, day, point("psi.items.issuer", alarm=day.day < 3))

    monkeypatch.setattr(measuring, "watch_day", measured)
    ahead = datetime(2025, 1, 4, 1, tzinfo=UTC) - datetime.now(UTC)
    files.write_json(
        {"ahead_us": ahead // timedelta(microseconds=1)}, workspace.served / "clock.json"
    )
    return workspace


def test_monitor_measures_raises_acts_and_writes_the_page(say, watched):
    code, out, _ = say("monitor", "--day", "2025-01-01", "--until", "2025-01-03")
    assert code == 0
    lines = out.splitlines()
    assert "warning: drift: psi.items.issuer is 0.4 (0.3 to 0.5), bad above 0.1" in lines
    assert "  retrain: no, it alarms on day 1 of the 2 in a row that the rule asks for" in lines
    assert "  retrain: a run of the pipeline is asked for" in lines
    assert "2025-01-02: 1 alarms, 1 of them a breach" in lines
    assert "2025-01-03: 0 alarms" in lines
    assert lines[-1] == f"page: {watched.watched / 'index.html'}"
    assert (watched.watched / "index.html").exists()
    assert [one["act"] for one in history(watched)] == ["retrain"]
    before = (watched.watched / "alarms.jsonl").read_bytes()
    say("monitor", "--day", "2025-01-01", "--until", "2025-01-03")
    assert (watched.watched / "alarms.jsonl").read_bytes() == before


def test_which_alarm_asked_for_training_is_told_to_a_scheduler(say, watched):
    say("monitor", "--day", "2025-01-01", "--until", "2025-01-03")
    cause = record.entries(watched)[0]["cause"]
    assert say("alarms", "--day", "2025-01-02", "--asked")[:2] == (0, f"2025-01-02-{cause}\n")
    assert say("alarms", "--day", "2025-01-01", "--asked")[:2] == (99, "")


def test_a_breached_day_ends_with_one_where_that_is_asked(say, watched):
    say("monitor", "--day", "2025-01-02")
    say("monitor", "--day", "2025-01-03")
    assert say("alarms", "--day", "2025-01-02")[0] == 0
    assert say("alarms", "--day", "2025-01-02", "--check")[0] == 1
    assert say("alarms", "--day", "2025-01-03", "--check")[0] == 0
    code, _, err = say("alarms", "--day", "2025-01-09", "--check")
    assert code == 2
    assert "is no day that was watched" in err


def test_alarms_are_listed_snoozed_and_verified(say, watched):
    assert say("alarms")[1] == "nothing alarmed yet in profile market\n"
    say("monitor", "--day", "2025-01-02")
    name = record.entries(watched)[0]["id"]
    told = 'tessera_watched_alarms{family="drift",profile="market",severity="warning"}'
    assert f"{told} 1.0" in (watched.watched / "series.prom").read_text()
    code, out, _ = say(
        "alarms", "--snooze", name, "--until", "2025-01-05", "--reason", "a campaign"
    )
    assert (code, out) == (0, "drift of all is silent until 2025-01-05: a campaign\n")
    assert f"{told} 0.0" in (watched.watched / "series.prom").read_text()
    _, out, _ = say("alarms", "--verify")
    assert out.startswith(f"{name}  warning   drift of all: psi.items.issuer is 0.4")
    assert "    silent until 2025-01-05: a campaign\n" in out
    assert "docs/monitoring.md#drift" in out
    assert "every hash matches" in out
    assert say("alarms", "--day", "2025-01-02", "--check")[0] == 0, "a silent alarm is no breach"
    page = (watched.watched / "incidents" / f"{name}.html").read_text()
    assert "silent until 2025-01-05: a campaign" in page
    path = watched.watched / "alarms.jsonl"
    path.write_text(path.read_text().replace("campaign", "holiday"))
    code, _, err = say("alarms", "--verify")
    assert code == 2
    assert "the record of alarms of profile market is broken at" in err


@pytest.mark.parametrize("words", [("--until", "2025-01-05"), ("--reason", "a campaign"), ()])
def test_a_snooze_needs_an_end_and_a_reason(say, watched, words):
    code, _, err = say("alarms", "--snooze", "x", *words)
    assert (code, err) == (
        2,
        "error: --snooze needs --until DAY and --reason TEXT, which are recorded\n",
    )


def test_a_day_that_was_changed_since_raises_nothing(say, watched):
    write(watched, FIRST, point("gini"))
    path = watched.watched / "2025-01-01" / "day.json"
    told = json.loads(path.read_text())
    told["files"]["series.parquet"] = "0" * 64
    path.write_text(json.dumps(told))
    code, _, err = say("alarms", "--day", "2025-01-01")
    assert code == 2
    assert "is not what was measured" in err
    assert record.entries(watched) == []


def test_exploration_is_shown_stopped_and_let_go_on(say, workspace):
    assert say("exploration")[1] == "exploration of profile market: slates are drawn\n"
    code, _, err = say("exploration", "--stop")
    assert code == 2
    assert "write --reason TEXT" in err
    assert "stopped" in say("exploration", "--stop", "--reason", "the log is wrong")[1]
    code, _, err = say("exploration", "--resume", "--reason", "the log was mended")
    assert (code, err) == (2, "error: --resume needs --approver NAME, which is recorded\n")
    words = ("--resume", "--reason", "the log was mended", "--approver", "A. Rossi")
    assert "drawn" in say("exploration", *words)[1]
    assert say("exploration", "--stop", "--resume")[0] == 2
