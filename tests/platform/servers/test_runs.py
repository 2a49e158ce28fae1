"""A run is triggered over REST and followed to its end, however slowly Airflow answers."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tessera.contracts.errors import TesseraError
from tessera.platform.servers import runs
from tessera.platform.servers.runs import Airflow

RUN = "manual__2026-11-30T09:00:00+00:00"


def _task(state, tries=1, duration=None):
    return {"task_id": "causal", "state": state, "try_number": tries, "duration": duration}


@contextmanager
def _airflow(answers):
    """Answer by the end of a path, a list of answers in turn; None is a failure."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            asked.append((self.path, self.headers["Authorization"], body and json.loads(body)))
            name = self.path.rpartition("/")[2]
            answer = (
                answers[name].pop(0) if isinstance(answers.get(name), list) else answers.get(name)
            )
            self.send_response(200 if answer is not None else 503)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_POST = do_GET

        def log_message(self, *_):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Airflow(server.server_port), asked
        server.shutdown()


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(runs, "_POLL_S", 0.0)


def test_a_run_is_triggered_with_the_form_by_who_logged_in():
    with _airflow({"token": {"access_token": "t"}, "dagRuns": {"dag_run_id": RUN}}) as (one, asked):
        one.log_in("operator", "word")
        assert one.trigger({"profile": "market"}) == RUN
    assert asked[0][2] == {"username": "operator", "password": "word"}
    assert asked[1] == (
        f"{runs.DAG}/dagRuns",
        "Bearer t",
        {"logical_date": None, "conf": {"profile": "market"}},
    )


def test_each_change_is_said_once_and_an_airflow_that_stalls_is_asked_again():
    path = RUN.replace(":", "%3A").replace("+", "%2B")
    states = [{"state": "running"}, None, {"state": "running"}, {"state": "running"}]
    tasks = [_task("queued"), _task("running"), _task("running"), _task("success", 2, 34.2)]
    answers = {
        path: [*states, {"state": "failed"}],
        "taskInstances": [{"task_instances": [one]} for one in tasks],
    }
    said, looked = [], []
    with _airflow(answers) as (one, _):
        state = one.follow(RUN, lambda: looked.append(1), said.append)
    assert state == "failed"
    assert said == ["  causal: running, try 1", "  causal: success, try 2 after 34 s"]
    assert len(looked) == 5, "who runs the servers looks after them meanwhile"


def test_an_airflow_that_never_answers_again_is_one_line(monkeypatch):
    monkeypatch.setattr(runs, "_PATIENCE_S", 0.0)
    with (
        _airflow({}) as (one, _),
        pytest.raises(TesseraError, match=r"Airflow at .*503.*see its log"),
    ):
        one.follow(RUN, lambda: None, print)
