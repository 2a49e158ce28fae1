import os
import socket
import time

import pytest

from tessera.contracts.errors import TesseraError
from tessera.platform.cli import ui
from tessera.platform.servers.airflow import DATABASE, alone


def test_a_port_that_is_taken_is_one_line_before_anything_starts(root):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(TesseraError, match=rf"port {port} is taken: .*--mlflow-port"):
            ui.serve(root, _free_port(), port)
    assert not (root / ".airflow").exists()


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
    path = tmp_path / DATABASE
    path.write_bytes(b"no database " * 99)
    assert "it lies in airflow.db.aside, Airflow begins anew" in ui.mend_database(tmp_path)
    assert not path.exists()
    path.write_bytes(b"no database " * 99)
    with alone(tmp_path), pytest.raises(TesseraError, match="runs already"):
        ui.mend_database(tmp_path)
    assert path.exists(), "what is in use is left alone"


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
