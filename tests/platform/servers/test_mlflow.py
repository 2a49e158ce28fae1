"""MLflow on PostgreSQL: the server that `tessera ui` starts, and the database itself."""

from __future__ import annotations

import pytest

from tessera.contracts.errors import BrokenStore
from tessera.platform.cli import doctor, ui
from tessera.platform.servers.started import Server, get, wait_until
from tessera.platform.tracking import shared, tracking
from tessera.platform.workspace import processes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own


@pytest.fixture(autouse=True)
def alias():
    """No stand-in: these tests are about MLflow."""


@pytest.fixture
def address(database, monkeypatch):
    """PostgreSQL that answers, as the store of MLflow."""
    monkeypatch.setenv(shared.SETTING, database.url)
    wait_until(_answers, [database.server])
    return database.url


def _answers():
    try:
        shared.require_answer(shared.named())
    except BrokenStore:
        return False
    return True


def test_a_server_on_postgresql_and_its_database_are_told_the_same(
    address, tell_shared, workspace, tmp_path, monkeypatch
):
    started: list[Server] = []
    port, store = processes.free_port(), tmp_path / "mlflow"
    (tmp_path / "logs").mkdir()
    try:
        ui._start_mlflow(store, port, tmp_path, started)
        wait_until(lambda: get(f"http://127.0.0.1:{port}/health") is not None, started)
        monkeypatch.setenv(shared.SETTING, f"http://127.0.0.1:{port}")
        tell_shared()
        assert doctor._mlflow(workspace) == f"http://127.0.0.1:{port} answers"
    finally:
        processes.stop([one.process for one in started])
    monkeypatch.setenv(shared.SETTING, address)
    assert tracking.champion("market", store) == "1"
    assert tracking.log_pending(tmp_path / "told" / "runs", store) == 0, "all is there"
    assert doctor._mlflow(workspace) == f"{shared.shown(address)} answers"
    for url, told in {
        address.replace("right", "hidden-word"): "password authentication failed",
        address.replace("/postgres", "/nowhere"): "does not exist",
        "postgresql+psycopg2://ada:hidden-word@127.0.0.1:1/mlflow": "Connection refused",
    }.items():
        monkeypatch.setenv(shared.SETTING, url)
        with pytest.raises(BrokenStore, match=f"{shared.SETTING}: PostgreSQL says .*{told}") as one:
            doctor._mlflow(workspace)
        assert "hidden-word" not in str(one.value)
        assert "\n" not in str(one.value)
