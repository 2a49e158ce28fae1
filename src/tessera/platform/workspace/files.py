"""Files that are either whole or absent: written aside, synced, then renamed."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import yaml

from tessera.contracts.disk import sync_folder
from tessera.contracts.errors import BadInput, Unreadable
from tessera.contracts.hashes import sha256
from tessera.contracts.library_errors import first_line

__all__ = [
    "copy",
    "move_into_place",
    "parse_yaml",
    "read_json",
    "remove",
    "sha256",
    "sync",
    "write_bytes",
    "write_json",
    "write_page",
]


def sync(path: Path) -> None:
    """Force a file, or every file of a folder, to the disk."""
    for inner in path.rglob("*") if path.is_dir() else [path]:
        if inner.is_file():
            with inner.open("rb") as stream:
                os.fsync(stream.fileno())


def remove(path: Path) -> None:
    """Remove a file, a link or a folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def move_into_place(made: Path, final: Path) -> None:
    """Sync what was made aside and give it its name; an older one of that name goes."""
    sync(made)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.is_dir() or made.is_dir():
        remove(final)
    made.replace(final)
    sync_folder(final.parent)


def write_bytes(value: bytes, path: Path) -> None:
    """Write bytes atomically, whoever else writes the same file at the same time.

    Raises
    ------
    BadInput
        If a folder lies there: no file takes the place of one.
    """
    if path.is_dir():
        raise BadInput(f"{path} is a folder: name a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    aside.write_bytes(value)
    move_into_place(aside, path)


def copy(source: Path, path: Path) -> None:
    """Copy a file, which is seen whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        shutil.copyfile(source, aside)
        move_into_place(aside, path)
    except OSError:
        remove(aside)
        raise


def write_page(text: str, page: Path) -> None:
    """Write a page where a person asked for it.

    Raises
    ------
    BadInput
        If no file can be written there.
    """
    try:
        write_bytes(text.encode(), page)
    except OSError as error:
        raise BadInput(f"cannot write {page}: {error.strerror}: name another file") from error


def write_json(value: Any, path: Path) -> None:
    """Write JSON atomically, keys in the order given."""
    write_bytes((json.dumps(value, indent=2, default=str) + "\n").encode(), path)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    Unreadable
        If it is none.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        told = f"{path} is no JSON ({first_line(error)})"
        raise Unreadable(f"{told}: restore it, or run again what writes it") from error


def parse_yaml(text: str | bytes) -> Any:
    """Read YAML of plain values, as `yaml.safe_load` does, with a tenth of its time.

    Raises
    ------
    yaml.YAMLError
        If it is none.
    """
    return yaml.CSafeLoader(text).get_single_data()
