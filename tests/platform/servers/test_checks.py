"""A cluster that is set up by half, or to servers that cannot be used, is one line before work."""

import sys
import time
from types import SimpleNamespace

import pytest

from tessera.contracts.errors import TesseraError
from tessera.platform.servers import checks
from tessera.platform.workspace.processes import free_port

CELERY = {checks.EXECUTOR: "CeleryExecutor"}
URL = "postgresql+psycopg2://u:p@127.0.0.1:1/d"


def _until_up(check):
    for _ in range(600):
        try:
            return check()
        except TesseraError as error:
            if "says" not in str(error):
                raise
            time.sleep(0.05)
    return check()


def test_a_machine_that_works_alone_needs_no_server():
    assert checks.check_cluster({}) == "none set up: this machine works alone"
    local = {checks.EXECUTOR: "LocalExecutor", checks.DATABASE: "sqlite:///x"}
    assert "alone" in checks.check_cluster(local)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (CELERY, f"nobody set {checks.DATABASE} and {checks.BROKER} and .* and TESSERA_EXCHANGE"),
        (
            {**CELERY, checks.DATABASE: URL, checks.BROKER: "redis://h", checks.RESULTS: URL},
            "nobody set TESSERA_EXCHANGE$",
        ),
        ({"TESSERA_EXCHANGE": "/mnt"}, "TESSERA_EXCHANGE is set, and .* is not CeleryExecutor"),
        ({checks.BROKER: "redis://h"}, f"{checks.BROKER} is set, and .* is not CeleryExecutor"),
    ],
)
def test_what_is_set_up_by_half_names_what_is_missing(environment, told):
    with pytest.raises(TesseraError, match=told):
        checks.check_cluster(environment)


def test_a_redis_that_answers_is_let_through_and_a_wrong_password_is_not(broker):
    _until_up(lambda: checks.require_redis(broker.url, checks.BROKER))
    with pytest.raises(TesseraError, match=f"{checks.BROKER}: Redis says .*password") as told:
        checks.require_redis(broker.url.replace("right", "hidden-word"), checks.BROKER)
    assert "hidden-word" not in str(told.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "127.0.0.1:6379", "redis://127.0.0.1:{port}"])
def test_a_redis_that_is_none_is_one_line(url):
    with pytest.raises(TesseraError, match=f"{checks.BROKER}: Redis says"):
        checks.require_redis(url.format(port=free_port()), checks.BROKER)


@pytest.mark.parametrize("url", ["mysql://u:p@h/d", "postgresql://", "postgresql://u@h:port/d"])
def test_an_address_that_is_none_of_postgresql_says_how_it_is_written(url):
    with pytest.raises(TesseraError, match=r"write postgresql\+psycopg2://USER") as told:
        checks.require_postgres(url, checks.DATABASE)
    assert "u:p" not in str(told.value)


def test_a_postgresql_that_is_too_old_and_a_driver_that_is_missing_are_one_line(monkeypatch):
    asked = {}

    def connect(**address):
        asked.update(address)
        return SimpleNamespace(server_version=12_0005, close=lambda: None)

    monkeypatch.setitem(sys.modules, "psycopg2", SimpleNamespace(connect=connect, Error=OSError))
    with pytest.raises(TesseraError, match="PostgreSQL 12, and Airflow needs 13"):
        checks.require_postgres("postgresql://u:a%40b@h/d", checks.DATABASE)
    assert (asked["host"], asked["port"], asked["password"]) == ("h", 5432, "a@b")
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(TesseraError, match="psycopg2 is not installed: run `make cluster-install`"):
        checks.require_postgres(URL, checks.DATABASE)


def test_a_postgresql_that_answers_is_let_through_and_a_wrong_one_is_not(database):
    _until_up(lambda: checks.require_postgres(database.url, checks.DATABASE))
    wrong = {
        database.url.replace("right", "hidden-word"): "password authentication failed",
        database.url.replace("/postgres", "/nowhere"): "does not exist",
        URL: "Connection refused",
    }
    for url, told in wrong.items():
        with pytest.raises(
            TesseraError, match=f"{checks.DATABASE}: PostgreSQL says .*{told}"
        ) as one:
            checks.require_postgres(url, checks.DATABASE)
        assert "hidden-word" not in str(one.value)


def test_an_exchange_that_nobody_mounted_is_one_line(broker, database, tmp_path):
    environment = {
        **CELERY,
        checks.DATABASE: database.url,
        checks.RESULTS: f"db+{database.url}",
        checks.BROKER: broker.url,
        "TESSERA_EXCHANGE": str(tmp_path),
    }
    assert "can be written" in _until_up(lambda: checks.check_cluster(environment))
    environment["TESSERA_EXCHANGE"] = str(tmp_path / "nowhere")
    with pytest.raises(
        TesseraError, match=r"TESSERA_EXCHANGE: .*nowhere cannot be written .*mount"
    ):
        checks.check_cluster(environment)
