"""Reach a PostgreSQL database by its address, or say in one line, without the password, why not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

from tessera.contracts.errors import TesseraError
from tessera.contracts.library_errors import first_line

_WAIT_S = 3
_PORT = 5432
_FORM = "postgresql+psycopg2://USER:PASSWORD@HOST:PORT/DATABASE"


@contextmanager
def connected(url: str, setting: str) -> Iterator[Any]:
    """Yield a connection of psycopg2 to a database.

    Parameters
    ----------
    url : str
        Address of the database, as SQLAlchemy writes it.
    setting : str
        Environment variable that names it, for the line of an error.

    Raises
    ------
    TesseraError
        With the setting, and what the server or the driver says.
    """
    address = _address(url, setting)
    try:
        import psycopg2
    except ImportError as error:
        raise TesseraError("psycopg2 is not installed: run `make cluster-install`") from error
    try:
        with closing(psycopg2.connect(**address, connect_timeout=_WAIT_S)) as connection:
            yield connection
    except psycopg2.Error as error:
        raise TesseraError(f"{setting}: PostgreSQL says {first_line(error)!r}") from error


def _address(url: str, setting: str) -> dict[str, Any]:
    """Return what a driver connects to; the line that refuses a URL does not repeat it."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORT
    except ValueError as error:
        raise TesseraError(f"{setting} is no address: write {_FORM}") from error
    if parts.scheme.partition("+")[0] != "postgresql" or not parts.hostname:
        raise TesseraError(f"{setting} is no address of PostgreSQL: write {_FORM}")
    said = {"user": parts.username, "password": parts.password}
    return {
        "host": parts.hostname,
        "port": port,
        "dbname": parts.path.lstrip("/"),
        **{name: unquote(value) for name, value in said.items() if value},
    }
