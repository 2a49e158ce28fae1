"""A cluster starts whole or not at all, and never leaves a server behind."""

import os
import sys

import psutil
import pytest

from tessera.contracts.errors import TesseraError
from tessera.platform.servers import backends, checks, cluster
from tessera.platform.servers.backends import Backend
from tessera.platform.servers.started import Server
from tessera.platform.workspace import processes


@pytest.fixture
def complete(monkeypatch):
    """Everything is installed and committed."""
    monkeypatch.setattr(cluster, "require_airflow", lambda: None)
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(cluster, "require_committed", lambda _: "abc")
    for name in ("find_postgres", "find_redis"):
        monkeypatch.setattr(cluster, name, lambda: None)


def test_what_is_missing_is_named_before_anything_starts(root, monkeypatch, complete):
    assert cluster.require_all(root) == "abc"
    monkeypatch.setattr(cluster, "find_redis", backends.find_redis)
    monkeypatch.setattr(backends.shutil, "which", lambda _: None)
    monkeypatch.setattr(backends.importlib.metadata, "files", lambda _: [])
    with pytest.raises(TesseraError, match="no Redis here: `apt-get install redis-server`"):
        cluster.require_all(root)
    monkeypatch.setattr(cluster, "find_postgres", backends.find_postgres)
    monkeypatch.setattr(backends, "_DEBIAN", root)
    with pytest.raises(TesseraError, match="no PostgreSQL here: `apt-get install postgresql`"):
        cluster.require_all(root)
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(
        TesseraError, match=r"providers\.celery is not installed: run `make cluster`"
    ):
        cluster.require_all(root)
    assert not (root / ".airflow").exists()


def test_debians_newest_postgresql_is_taken_where_none_is_on_the_path(tmp_path, monkeypatch):
    for version in ("9", "15"):
        (tmp_path / version / "bin").mkdir(parents=True)
        for name in ("postgres", "initdb"):
            (tmp_path / version / "bin" / name).touch()
    monkeypatch.setattr(backends, "_DEBIAN", tmp_path)
    monkeypatch.setattr(backends.shutil, "which", lambda _: None)
    assert backends.find_postgres() == tmp_path / "15" / "bin"


def test_a_server_that_cannot_be_started_ends_those_that_were(root, monkeypatch):
    def start_postgres(folder, logs, _password):
        words = [sys.executable, "-c", "import time; time.sleep(600)"]
        process = processes.start(words, dict(os.environ), logs / "postgres.log", logs)
        made.append(process.pid)
        return Backend(Server("postgres", process, logs / "postgres.log"), "")

    def start_redis(*_):
        raise TesseraError("no Redis here")

    made = []
    monkeypatch.setattr(cluster, "clone", lambda *_: None)
    monkeypatch.setattr(cluster, "start_postgres", start_postgres)
    monkeypatch.setattr(cluster, "start_redis", start_redis)
    with pytest.raises(TesseraError, match="no Redis here"), cluster.started(root, "abc"):
        raise AssertionError("it is not ready")
    assert not psutil.pid_exists(made[0])


def test_airflow_is_told_of_both_servers_and_of_secrets_that_all_share(root):
    told = cluster.cluster_environment(root, 18080, "postgresql+psycopg2://h/d", "redis://h")
    assert told[checks.EXECUTOR] == "CeleryExecutor"
    assert told[checks.DATABASE] == "postgresql+psycopg2://h/d"
    assert told[checks.RESULTS] == "db+postgresql+psycopg2://h/d"
    assert told[checks.BROKER] == "redis://h"
    assert told["TESSERA_EXCHANGE"] == str(root / ".airflow" / "cluster" / "exchange")
    assert told["AIRFLOW__API__HOST"] == "127.0.0.1"
    again = cluster.cluster_environment(root, 18080, "", "")
    for name in ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__CORE__FERNET_KEY"):
        assert len(told[name]) > 30
        assert told[name] != again[name]
