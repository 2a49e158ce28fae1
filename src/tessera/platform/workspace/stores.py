"""The store at an address that a setting gives: a folder, or an object store."""

from __future__ import annotations

from pathlib import Path

from tessera.contracts.errors import BadParams, TesseraError
from tessera.platform.workspace.store import Folder, Store


def open_store(address: str, setting: str) -> Store:
    """Return the store at an address: `s3://BUCKET/PREFIX`, or a folder.

    Raises
    ------
    BadParams
        If an address of an object store is none, or none can be asked; the line names the setting
        that gave it.
    """
    if "://" in address:
        try:
            from tessera.platform.workspace.bucket import open_bucket  # half a second of boto3
        except ImportError as error:
            raise BadParams(
                f"{setting} names an object store, and boto3 is not installed: `make install`, or "
                "pip install tessera[s3]"
            ) from error
        return open_bucket(address, setting)
    return Folder(Path(address).resolve())


def require_store(store: Store, setting: str) -> None:
    """Refuse a store that cannot be used here.

    Raises
    ------
    BadParams
        If it cannot; the line names the setting that gave its address.
    """
    try:
        store.require()
    except TesseraError as error:
        raise BadParams(f"{setting}: {error}") from error
