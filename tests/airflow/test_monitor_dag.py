"""The DAG that watches: one day a run, red where it is breached, and no later day waits for it."""

from __future__ import annotations

from datetime import date

import pytest

from tessera.contracts.series import Point, write_day
from tessera.platform.release import retraining

DUE = "2025-01-09T00:30:00+00:00"
DAY = date(2025, 1, 8)
GOOD = [{}, {"day": "2025-01-08"}, {"profile": "far-trans", "day": None}]
BAD = [{"day": "yesterday"}, {"day": "2025-01-08; rm -rf ."}, {"day": "$(id)"},
       {"profile": "nowhere"}]  # fmt: skip


@pytest.fixture
def ask_monitor(airflow, asker):
    """Ask the DAG that watches, loaded in another process."""
    return asker("monitor_probe.py", airflow)


@pytest.fixture
def told(ask_monitor):
    runs = [
        {"due": DUE},
        {"due": DUE, "type": "backfill"},
        {"due": "2025-01-08T23:00:00+00:00"},
        {"due": DUE, "type": "manual"},
        {"due": DUE, "type": "manual", "params": {"day": "2024-12-30"}},
        {"due": "2025-01-09T01:00:00+02:00"},
    ]
    retrains = [{"due": DUE, "alarm": "2025-01-08-0a1b2c3d", "params": {"profile": "far-trans"}}]
    runs = [{**one, "task": "watch"} for one in runs]
    return ask_monitor({"forms": GOOD + BAD, "runs": runs, "retrains": retrains})


def test_a_breach_is_a_task_of_its_own_that_holds_up_nothing(told):
    dag = told["dag"]
    assert dag["edges"] == [["asked", "retrain"], ["watch", "asked"], ["watch", "breach"]]
    assert dag["retries"]["breach"] == 0
    assert dag["retries"]["watch"] == 2
    assert dag["calls_back"]["watch"]
    assert not dag["after_the_day_before"]
    assert (dag["schedule"], dag["catchup"], dag["at_once"]) == ("30 0 * * *", False, 1)
    assert dag["paused"]
    assert dag["tags"] == ["tessera"]
    assert dag["doc"]
    assert told["imported"] == []


def test_a_run_measures_the_last_day_that_was_over_when_it_was_due(told):
    days = [one["env"]["TESSERA_DAY"] for one in told["done"]]
    assert days == ["2025-01-08", "2025-01-08", "2025-01-07", "2025-01-08", "2024-12-30",
                    "2025-01-07"]  # fmt: skip
    assert "2025" not in told["done"][0]["command"], "what a form says is never part of a command"


def test_the_form_takes_good_answers_and_refuses_bad_ones(told):
    assert told["form"] == [True] * len(GOOD) + [False] * len(BAD)


def test_training_is_triggered_once_for_an_alarm_and_for_its_profile(told):
    (asked,) = told["triggered"]
    assert asked["trigger_dag_id"] == "tessera_pipeline"
    assert asked["dag_run_id"] == "retrain-far-trans-2025-01-08-0a1b2c3d"
    assert asked["conf"] == {"profile": "far-trans"}
    assert asked["skip_when_already_exists"]


def test_a_breached_day_is_red_and_an_alarm_that_asked_is_told(ask_monitor, workspace):
    folder = workspace.watched / DAY.isoformat()
    folder.mkdir(parents=True)
    drift = Point("psi.items.issuer", "all", 0.4, 0.3, 0.5, 4000, 900, 0.1, "above", 1e-5, True)
    write_day(folder, DAY, [drift], [], {"status": "measured", "remarks": [], "inputs": {}})
    retraining.ask(workspace, f"alarm {DAY}-0a1b2c3d: planted")
    run = {"due": DUE, "root": str(workspace.root)}
    told = ask_monitor({"runs": [{**run, "task": name} for name in ("breach", "asked")]})
    breach, asked = told["done"]
    assert breach["ended"] == "failed"
    assert (asked["ended"], asked["said"]) == ("success", f"{DAY}-0a1b2c3d")


def test_a_day_without_anything_is_measured_and_asks_for_nothing(ask_monitor, workspace):
    run = {"due": DUE, "root": str(workspace.root)}
    told = ask_monitor({"runs": [{**run, "task": name} for name in ("watch", "breach", "asked")]})
    assert [one["ended"] for one in told["done"]] == ["success", "success", "skipped"]
    assert (workspace.watched / DAY.isoformat() / "day.json").exists()
    assert told["done"][0]["events"] == [["tessera://market/watched", {"day": DAY.isoformat()}]]
