import json
import os
import socket
import stat
import time

import pytest

from tessera.contracts.errors import TesseraError
from tessera.platform.cli import ui


def test_a_port_that_is_taken_is_one_line_before_anything_starts(root):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(TesseraError, match=rf"port {port} is taken: .*--mlflow-port"):
            ui.serve(root, _free_port(), port)
    assert not (root / ".airflow").exists()


def test_passwords_are_made_once_and_only_their_owner_can_read_them(tmp_path):
    first = ui.create_passwords(tmp_path)
    path = tmp_path / "passwords.json"
    assert set(first) == {"operator", "viewer"}
    assert len(set(first.values())) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ui.create_passwords(tmp_path) is None
    assert json.loads(path.read_text()) == first


def test_a_second_ui_of_the_same_repository_is_refused(tmp_path):
    with (
        ui._alone(tmp_path),
        pytest.raises(TesseraError, match="runs already"),
        ui._alone(tmp_path),
    ):
        pass


def test_airflow_is_told_to_stay_on_this_machine(tmp_path):
    settings = ui.airflow_environment(tmp_path, 18080)
    assert settings["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert (
        settings["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:18080/execution/"
    )
    assert settings["AIRFLOW__CORE__PARALLELISM"] == "2"
    assert settings["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert settings["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_another_profile_lets_airflow_read_the_dags_anew(root):
    dag = root / "dags" / "pipeline.py"
    dag.parent.mkdir()
    dag.write_text("")
    os.utime(dag, (0, 0))
    offered = ui.offer_profiles(root, ui.profile_names(root))
    assert dag.stat().st_mtime == 0, "nothing is new"
    (root / "profiles" / "mybank.yaml").write_text("")
    assert "mybank" in ui.offer_profiles(root, offered)
    assert dag.stat().st_mtime > time.time(), "later than a reading that is under way"


def test_a_torn_database_of_airflow_makes_room_and_says_so(tmp_path):
    assert ui.mend_database(tmp_path) is None
    path = tmp_path / ui.DATABASE
    path.write_bytes(b"no database " * 99)
    assert "it lies in airflow.db.aside, Airflow begins anew" in ui.mend_database(tmp_path)
    assert not path.exists()
    path.write_bytes(b"no database " * 99)
    with ui._alone(tmp_path), pytest.raises(TesseraError, match="runs already"):
        ui.mend_database(tmp_path)
    assert path.exists(), "what is in use is left alone"


def test_a_server_that_ends_by_itself_is_named_with_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(ui.processes, "command", lambda name: f"/bin/{name}")
    (tmp_path / "logs").mkdir()
    started = []
    ui._start("false", ("x",), {}, tmp_path, started)
    started[0].process.wait()
    with pytest.raises(TesseraError, match=r"false x ended by itself: see .*false-x\.log"):
        ui._require_alive(started)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
