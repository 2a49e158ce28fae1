"""SHA-256 of files and folders: one way to hash what is judged, packed and sealed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from tessera.contracts.errors import LinkedFile


def sha256(path: Path) -> str:
    """Hash a file, or a folder by the names and hashes of its files.

    Raises
    ------
    LinkedFile
        If a link lies in the folder.
    """
    if path.is_dir():
        return combined(file_hashes(path))
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_hashes(folder: Path) -> dict[str, str]:
    """Hash every file of a folder, by relative name.

    Raises
    ------
    LinkedFile
        If a link lies in it: what it leads to may change, or be missed, while its name stays.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise LinkedFile(
                f"{folder.name}/{name} is a link, and what is hashed must lie there itself: "
                "put the file in its place (dvc makes none with `dvc config cache.type copy`)"
            )
        if path.is_file():
            found[name] = sha256(path)
    return found


def combined(found: Mapping[str, str]) -> str:
    """Hash files by name, each with its hash, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(found, key=Path):
        digest.update(f"{name}\0{found[name]}\n".encode())
    return digest.hexdigest()
