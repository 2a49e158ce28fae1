"""Airflow is set up by its environment alone, for one person and on this machine."""

import json
import stat

import pytest

from tessera.contracts.errors import TesseraError
from tessera.platform.servers import airflow, pools


def test_passwords_are_made_once_and_only_their_owner_can_read_them(tmp_path):
    first = airflow.create_passwords(tmp_path)
    path = tmp_path / "passwords.json"
    assert set(first) == {"operator", "viewer"}
    assert len(set(first.values())) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert airflow.create_passwords(tmp_path) is None
    assert json.loads(path.read_text()) == first


def test_a_second_ui_of_the_same_repository_is_refused(tmp_path):
    with (
        airflow.alone(tmp_path),
        pytest.raises(TesseraError, match="runs already"),
        airflow.alone(tmp_path),
    ):
        pass


def test_airflow_is_told_to_stay_on_this_machine(tmp_path):
    settings = airflow.airflow_environment(tmp_path, 18080)
    assert settings["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert (
        settings["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:18080/execution/"
    )
    assert int(settings["AIRFLOW__CORE__PARALLELISM"]) == pools.slots() + 1, "an act never waits"
    assert settings["TESSERA_POOL"] == "tessera_heavy"
    assert settings["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert settings["MLFLOW_DISABLE_TELEMETRY"] == "true"
