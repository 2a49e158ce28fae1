"""An MLflow that others share is told all that the file was told, and holds up nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tessera.contracts.errors import BrokenStore
from tessera.platform.cli import doctor, repair, ui
from tessera.platform.release import acts, journal, pointer
from tessera.platform.tracking import shared, tracking
from tessera.platform.workspace.processes import free_port

SERVE = """
from mlflow.server import app
from werkzeug.serving import make_server
made = make_server("127.0.0.1", 0, app, threaded=True)
print(made.port, flush=True)
made.serve_forever()
"""
DATABASE = "postgresql+psycopg2://ada:hidden-word@db.bank/mlflow"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own


@pytest.fixture(autouse=True)
def alias():
    """No stand-in: these tests are about MLflow."""


@pytest.fixture(scope="module")
def server(tmp_path_factory, tables):
    """Serve MLflow over HTTP as `mlflow server` does, in a third of its time; return its address.

    In a process of its own: it takes over the environment of whoever imports it.
    """
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(tables, folder / "mlflow.db")
    told = {
        "FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
        "SERVE_ARTIFACTS": "true",
        "ARTIFACT_ROOT": "mlflow-artifacts:/",
        "ARTIFACT_DESTINATION": str(folder / "files"),
    }
    environment = {**os.environ, **{f"_MLFLOW_SERVER_{name}": told[name] for name in told}}
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


@contextmanager
def _answering(status, text):
    """Serve one answer to whoever asks."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{made.server_port}"
        made.shutdown()


def test_a_server_is_told_of_runs_and_of_what_is_published(server, tell_shared, monkeypatch):
    monkeypatch.setenv(shared.SETTING, server)
    store = tell_shared()
    assert [path.name for path in store.iterdir()] == [".lock"], "nothing is kept beside it"
    with tracking._client(store) as client:
        experiment = client.get_experiment_by_name("market")
        runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
        assert set(runs) == {"run 1", "hstu", "report"}
        shown = [one.path for one in client.list_artifacts(runs["run 1"].info.run_id)]
        assert sorted(shown) == ["training", "verdict.html"]
        curve = client.get_metric_history(runs["hstu"].info.run_id, "hstu.loss")
        assert [(point.step, point.value) for point in curve] == [(1, 3.5), (2, 2.5)]
        named = client.get_model_version_by_alias("tessera-market", "champion")
        assert named.source == "tessera://market/v1", "a path would mean nothing there"


def test_a_run_that_was_killed_half_way_is_told_anew(server, tell_shared, tmp_path, monkeypatch):
    monkeypatch.setenv(shared.SETTING, server)
    records, store = tmp_path / "told" / "runs", tmp_path / "mlflow"
    tracking.log_pending(records, store)
    with tracking._client(store) as client:
        experiment = client.get_experiment_by_name("market").experiment_id
        (run,) = client.search_runs([experiment], "attributes.run_name = 'hstu'")
        client.update_run(run.info.run_id, status="RUNNING")
    assert tracking.log_pending(records, store) == 1


@pytest.mark.parametrize("address", ["sqlite:///mlflow.db", "databricks", "http://", "./mlruns"])
def test_an_address_that_is_none_of_a_shared_mlflow_says_what_to_write(
    workspace, address, monkeypatch
):
    monkeypatch.setenv(shared.SETTING, address)
    with pytest.raises(BrokenStore, match=r"MLFLOW_TRACKING_URI is no address .*write http://HOST"):
        doctor._mlflow(workspace)


def test_a_server_that_is_gone_holds_up_no_act_and_is_one_line(
    workspace, make_candidate, monkeypatch, capsys
):
    (workspace.tracking).mkdir(parents=True)
    kept = workspace.tracking / tracking.DATABASE
    kept.write_text("of before the setting")
    monkeypatch.setenv(shared.SETTING, f"http://ada:hidden-word@127.0.0.1:{free_port()}")
    make_candidate(workspace)
    assert acts.promote(workspace).moved
    acts.rollback(workspace, "v0", "the first lists are odd", "ada")
    assert pointer.current_version(workspace) == "v0"
    told = capsys.readouterr().err
    assert told.count("warning: MLflow's alias stays behind") == 3
    assert "hidden-word" not in told
    with pytest.raises(BrokenStore, match=r"127\.0\.0\.1:\d+ does not answer .*refused") as one:
        doctor._mlflow(workspace)
    assert "hidden-word" not in str(one.value)
    repair.repair(workspace)
    assert kept.read_text() == "of before the setting", "nothing of ours is set aside for it"


def test_an_act_that_was_killed_is_completed_by_repair_though_the_server_is_gone(
    workspace, make_candidate, monkeypatch
):
    make_candidate(workspace)
    monkeypatch.setenv(shared.SETTING, f"http://127.0.0.1:{free_port()}")
    with monkeypatch.context() as killed:
        killed.setattr(journal, "_tell_mlflow", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            acts.promote(workspace)
    assert "an interrupted act is completed" in repair.repair(workspace)
    assert journal.unfinished(workspace) is None


@pytest.mark.parametrize(
    ("status", "text"),
    [(401, "http://ada:hidden-word@h is refused"), (500, "(psycopg2) no connection")],
)
def test_what_a_server_refuses_is_one_line_without_the_password(
    workspace, monkeypatch, status, text
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with _answering(status, text) as place:
        monkeypatch.setenv(shared.SETTING, f"http://ada:hidden-word@{place}")
        with pytest.raises(BrokenStore, match=rf"MLflow at http://{place} cannot be used") as one:
            doctor._mlflow(workspace)
    assert str(status) in str(one.value)
    assert "hidden-word" not in str(one.value)
    assert "\n" not in str(one.value)


def test_the_ui_shows_a_server_that_others_run_and_hands_a_database_on_unseen(root, monkeypatch):
    begun = []
    monkeypatch.setattr(ui, "migrate", lambda *_: None)
    monkeypatch.setattr(ui.shared, "require_answer", lambda _: None)
    monkeypatch.setattr(
        ui, "start_server", lambda name, words, told, *_: begun.append((name, words, told))
    )
    monkeypatch.setenv(shared.SETTING, "https://ada:hidden-word@mlflow.bank:5000")
    ui._start_all(root, 1, 2, [])
    assert "mlflow" not in {name for name, *_ in begun}
    assert "MLflow   https://mlflow.bank:5000" in ui._welcome(1, ui._mlflow_address(2), None)
    begun.clear()
    monkeypatch.setenv(shared.SETTING, DATABASE)
    ui._start_all(root, 1, 2, [])
    (words, told) = next((words, told) for name, words, told in begun if name == "mlflow")
    assert told["MLFLOW_BACKEND_STORE_URI"] == DATABASE
    assert "hidden-word" not in " ".join(words)
    assert ui._mlflow_address(2) == "http://127.0.0.1:2"
