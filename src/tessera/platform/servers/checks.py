"""Say in one line what is wrong with the servers of a cluster, before work starts."""

from __future__ import annotations

from collections.abc import Mapping

import redis

from tessera.contracts.errors import TesseraError
from tessera.contracts.library_errors import first_line
from tessera.platform.workspace.paths import EXCHANGE
from tessera.platform.workspace.postgres import connected
from tessera.platform.workspace.stores import open_store, require_store

DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
BROKER = "AIRFLOW__CELERY__BROKER_URL"
RESULTS = "AIRFLOW__CELERY__RESULT_BACKEND"
EXECUTOR = "AIRFLOW__CORE__EXECUTOR"
_CELERY = "CeleryExecutor"
_WAIT_S = 3
_OLDEST = 13
"""Of PostgreSQL, that this Airflow works with."""


def check_cluster(environment: Mapping[str, str]) -> str:
    """Return what the environment of a worker is set up for.

    Raises
    ------
    TesseraError
        If it is set up by half, or a server cannot be used: which setting, and why.
    """
    settings = (DATABASE, BROKER, RESULTS, EXCHANGE)
    given = [name for name in (BROKER, RESULTS, EXCHANGE) if environment.get(name)]
    if environment.get(EXECUTOR) != _CELERY:
        if given:
            raise TesseraError(f"{given[0]} is set, and {EXECUTOR} is not {_CELERY}: set both")
        return "none set up: this machine works alone"
    if missing := [name for name in settings if not environment.get(name)]:
        raise TesseraError(f"{EXECUTOR} is {_CELERY}, and nobody set {' and '.join(missing)}")
    require_postgres(environment[DATABASE], DATABASE)
    require_postgres(environment[RESULTS].removeprefix("db+"), RESULTS)
    require_redis(environment[BROKER], BROKER)
    require_store(open_store(environment[EXCHANGE], EXCHANGE), EXCHANGE)
    return "PostgreSQL and Redis answer, the exchange can be written"


def require_postgres(url: str, setting: str) -> None:
    """Refuse a database that Airflow could not use.

    Raises
    ------
    TesseraError
        With the setting, and what the server or the driver says.
    """
    with connected(url, setting) as connection:
        version = connection.server_version // 10_000
    if version < _OLDEST:
        raise TesseraError(f"{setting}: PostgreSQL {version}, and Airflow needs {_OLDEST}")


def require_redis(url: str, setting: str) -> None:
    """Refuse a broker that Celery could not use.

    Raises
    ------
    TesseraError
        With the setting, and what the server or the client says.
    """
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=_WAIT_S) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        raise TesseraError(f"{setting}: Redis says {first_line(error)!r}") from error
