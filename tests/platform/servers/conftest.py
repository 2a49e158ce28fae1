"""A server that speaks Redis, and one that is PostgreSQL where it is installed."""

from __future__ import annotations

import pytest

from tessera.contracts.errors import TesseraError
from tessera.platform.servers import backends
from tessera.platform.workspace import processes


def _serve(start, folder):
    (folder / "logs").mkdir()
    made = start(folder / "data", folder / "logs", "right")
    yield made
    processes.stop([made.server.process])


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    """Redis with the password `right`."""
    yield from _serve(backends.start_redis, tmp_path_factory.mktemp("redis"))


@pytest.fixture(scope="session")
def database(tmp_path_factory):
    """PostgreSQL with the password `right`; skips where it or its driver is not installed."""
    pytest.importorskip("psycopg2", reason="needs psycopg2: `make cluster-install`")
    try:
        backends.find_postgres()
    except TesseraError as error:
        pytest.skip(str(error))
    yield from _serve(backends.start_postgres, tmp_path_factory.mktemp("postgres"))
