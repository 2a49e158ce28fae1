"""The whole pipeline under a real scheduler, from the form to a published bundle."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import sqlite3
import time
from contextlib import closing, contextmanager

import httpx
import psutil
import pytest

from tessera.contracts.errors import TesseraError
from tessera.platform.release import pointer
from tessera.platform.servers.airflow import DATABASE
from tessera.platform.servers.pools import HEAVY, require_pools
from tessera.platform.workspace.catalogue import ALL_STAGES

DAG = "/api/v2/dags/tessera_pipeline"
DAILY = "/api/v2/dags/tessera_daily"
MONITOR = "/api/v2/dags/tessera_monitor"
DONE = ("success", "failed")
PATIENCE_S = 900
AT_ONCE_S = 120
"""What a busy machine takes to read the DAGs; without being told Airflow takes minutes."""


def _free_ports():
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def _log_in(address, name, password):
    answer = httpx.post(f"{address}/auth/token", json={"username": name, "password": password})
    token = answer.raise_for_status().json()["access_token"]
    return httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=30)


def _trigger(client, **answers):
    return client.post(f"{DAG}/dagRuns", json={"logical_date": None, "conf": answers})


def _until(said, told, patience_s=PATIENCE_S):
    deadline = time.monotonic() + patience_s
    while not said(answer := told()):
        assert time.monotonic() < deadline, answer
        time.sleep(2)
    return answer


def _below(root):
    """Processes that work inside a folder, whoever their parent is."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(str(root)) and process.status() != "zombie":
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _only_those_who_may(address, operator, viewer):
    assert _trigger(viewer).status_code == 403
    assert viewer.get(DAG).status_code == 200
    assert httpx.get(f"{address}{DAG}").status_code == 401
    for answers in ({"cut": "yesterday"}, {"profile": "nowhere"}, {"data": "x; rm -rf ."}):
        assert _trigger(operator, **answers).status_code == 400, answers


def _a_new_profile_is_in_the_form_at_once(operator, checkout):
    def offered():
        params = operator.get(f"{DAG}/details").json()["params"]
        return params["profile"]["schema"]["enum"]

    assert "mybank" not in offered()
    market = checkout.root / "profiles" / "market.yaml"
    (checkout.root / "profiles" / "mybank.yaml").write_text(market.read_text())
    _until(lambda names: "mybank" in names, offered, patience_s=AT_ONCE_S)


def _run_both_to_the_end(operator):
    """Trigger two runs of a profile at once, and unpause as the form does: both end, in turn."""
    operator.patch(DAG, json={"is_paused": False}).raise_for_status()
    reason = "let the tests see a publication"
    made = [_trigger(operator, override_reason=reason).json() for _ in range(2)]
    runs = [f"{DAG}/dagRuns/{one['dag_run_id']}" for one in made]
    ended = [_until(lambda run: run["state"] in DONE, _asks(operator, run)) for run in runs]
    tasks = [operator.get(f"{run}/taskInstances").json()["task_instances"] for run in runs]
    states = [{one["task_id"]: (one["state"], one["try_number"]) for one in run} for run in tasks]
    assert [run["state"] for run in ended] == ["success", "success"], states
    first, second = sorted(ended, key=lambda run: run["start_date"])
    assert first["end_date"] <= second["start_date"], "one run at a time"
    assert operator.get(DAILY).json()["is_paused"], "no schedule was switched on"
    pools = {one["task_id"]: one["pool"] for one in tasks[0]}
    heavy = {stage.name for stage in ALL_STAGES if stage.heavy}
    assert {name for name, pool in pools.items() if pool == HEAVY} == heavy
    _says_what_it_did(operator, runs[0])
    return states


def _watch_a_day(operator):
    """Let a day be watched on which nothing was served; return how to ask for what became of it."""
    operator.patch(MONITOR, json={"is_paused": False}).raise_for_status()
    asked = {"logical_date": None, "conf": {"day": "2024-12-23"}}
    run = operator.post(f"{MONITOR}/dagRuns", json=asked).raise_for_status().json()["dag_run_id"]
    tasks = _asks(operator, f"{MONITOR}/dagRuns/{run}/taskInstances")
    return lambda: {one["task_id"]: one["state"] for one in tasks()["task_instances"]}


def _says_what_changed(operator):
    """Airflow shows each change as an event of an Asset, and none where nothing changed."""
    events = operator.get("/api/v2/assets/events").raise_for_status().json()["asset_events"]
    told = {(one["uri"], one["source_task_id"], json.dumps(one["extra"])) for one in events}
    assert len(events) == 2, told
    assert told == {
        ("tessera://market/published", "publish", '{"version": "v1"}'),
        ("tessera://market/watched", "watch", '{"day": "2024-12-23"}'),
    }


def _what_waits_for_a_pool_is_read_as_airflow_writes_it(database):
    """The tables are Airflow's own: another version of it may change them."""
    require_pools(database)
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("UPDATE task_instance SET state = 'scheduled' WHERE pool = ?", [HEAVY])
        opened.execute("DELETE FROM slot_pool WHERE pool = ?", [HEAVY])
    with pytest.raises(TesseraError, match=f"Airflow has no pool {HEAVY}"):
        require_pools(database)


def _asks(operator, address):
    return lambda: operator.get(address).json()


def _says_what_it_did(operator, run):
    log = operator.get(f"{run}/taskInstances/ingest/logs/1", params={"full_content": True}).text
    assert "rows in" in log
    assert "quarantined" in log
    assert "validation/index.html" in log


@contextmanager
def _both_servers(checkout):
    """Addresses of Airflow and MLflow while both run; Ctrl-C must leave no process behind.

    Stages are forks of one process, which their commands find by the environment: 26 stages would
    each import the same libraries for seconds.
    """
    port, mlflow_port = _free_ports()
    words = ("--port", str(port), "--mlflow-port", str(mlflow_port))
    ui = checkout.start("env", "TESSERA_SCHEDULE=", "tessera", "ui", *words)
    try:
        printed = list(itertools.takewhile(lambda line: "Ctrl-C" not in line, ui.stdout))
        assert ui.poll() is None, printed
        yield f"http://127.0.0.1:{port}", f"http://127.0.0.1:{mlflow_port}"
    finally:
        os.kill(ui.pid, signal.SIGINT)
        ui.communicate(timeout=60)
    assert ui.returncode == 0
    assert _below(checkout.root) == []


@pytest.mark.timeout(1200)
def test_a_run_triggered_over_rest_publishes_and_ctrl_c_leaves_nothing(warm, new_checkout):
    checkout = new_checkout()
    with _both_servers(checkout) as (airflow, mlflow):
        path = checkout.root / ".airflow" / "passwords.json"
        passwords = json.loads(path.read_text())
        with (
            _log_in(airflow, "viewer", passwords["viewer"]) as viewer,
            _log_in(airflow, "operator", passwords["operator"]) as operator,
        ):
            _only_those_who_may(airflow, operator, viewer)
            _a_new_profile_is_in_the_form_at_once(operator, checkout)
            watched = _watch_a_day(operator)
            both = _run_both_to_the_end(operator)
            assert watched() == {
                "watch": "success", "breach": "success", "asked": "skipped", "retrain": "skipped",
            }  # fmt: skip
            _says_what_changed(operator)
        names = ("run_lock", "snapshot", *(stage.name for stage in ALL_STAGES), "publish")
        for states in both:
            asked = [states.pop(name)[0] for name in ("waiting", "ask")]
            assert asked == ["skipped", "skipped"], "nobody is asked unless the form says so"
            assert states == dict.fromkeys(names, ("success", 1))
        watched_day = checkout.open_workspace().watched / "2024-12-23" / "day.json"
        assert json.loads(watched_day.read_text())["status"] == "empty"
        assert pointer.current_version(checkout.open_workspace()) == "v1"
        search = f"{mlflow}/api/2.0/mlflow/experiments/search"
        found = httpx.post(search, json={"max_results": 10}).json()["experiments"]
        assert "market" in {experiment["name"] for experiment in found}
    _what_waits_for_a_pool_is_read_as_airflow_writes_it(checkout.root / ".airflow" / DATABASE)
