"""Which files a name in a params file means: a name, a pattern, a folder, partitions of a table.

A name is taken as it stands before it is taken as a pattern, so that `orders [2021].csv` is found.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from tessera.contracts.errors import BadInput

PACKED = (".gz", ".bz2", ".zst", ".lz4")
"""Endings that a file may carry beyond its name."""
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_TOLD = 8


@dataclass(frozen=True, slots=True)
class Found:
    """One file of a source."""

    path: Path
    label: str
    """Path inside the source folder; names the file to people, unique in a source."""
    partitions: Mapping[str, str | None] = field(default_factory=dict)
    """Columns that the folders `column=value` on the way to the file give to all its rows."""


def find(folder: Path, names: str | Sequence[str]) -> list[Found]:
    """List the files that a name, a pattern, a folder or a list of them means.

    A packed file stands for the plain one of its name; where both lie there, the plain one is read.

    Raises
    ------
    BadInput
        If there is none, one is named twice, or a name leads out of the folder.
    """
    found: dict[str, Found] = {}
    for name in [names] if isinstance(names, str) else names:
        matched = maybe(folder, name)
        if not matched:
            raise BadInput(f"{name}[.gz] is missing in {folder}: put it there; {_told(folder)}")
        twice = [one.label for one in matched if one.label in found]
        if twice:
            raise BadInput(f"{twice[0]} is named twice by {', '.join(names)}: name it once")
        found |= {one.label: one for one in matched}
    return list(found.values())


def maybe(folder: Path, name: str) -> list[Found]:
    """List like `find`, but a source may lack this file."""
    _inside(folder, name)
    literal = _literal(folder, name)
    matched = [literal] if literal else _matched(folder, name)
    expanded = [path for one in matched for path in (_parts(one) if one.is_dir() else [one])]
    return [_found(folder, path) for path in _in_order(folder, expanded)]


def only(folder: Path, pattern: str) -> Found:
    """Find the one file that a pattern may match.

    Raises
    ------
    BadInput
        If there is none, or several, which are listed.
    """
    found = find(folder, pattern)
    if len(found) > 1:
        raise BadInput(
            f"{len(found)} files match {pattern} in {folder}: {listed(found)}; "
            "leave the one that is meant"
        )
    return found[0]


def listed(found: Sequence[Found]) -> str:
    """Name files in one line."""
    more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    return ", ".join(one.label for one in found[:_TOLD]) + more


def unpacked(name: str) -> str:
    """Take the ending of a packed file off its name."""
    ending = next((ending for ending in PACKED if name.endswith(ending)), "")
    return name.removesuffix(ending)


def _inside(folder: Path, name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute():
        raise BadInput(f"{name} is an absolute path: name the file relative to {folder}")
    if ".." in path.parts:
        raise BadInput(f"{name} leads out of {folder}: name a file inside it")


def _literal(folder: Path, name: str) -> Path | None:
    """Find a file or folder of this very name, or else its only packed twin."""
    plain = unpacked(name)
    for one in (name, plain):
        if path := _spelled_alike(folder, one):
            return path
    packed = [_spelled_alike(folder, plain + ending) for ending in PACKED]
    twins = [path for path in packed if path]
    if len(twins) > 1:
        names = ", ".join(path.name for path in twins)
        raise BadInput(f"{plain} lies in {folder} as {names}: leave the one that is meant")
    return twins[0] if twins else None


def _spelled_alike(folder: Path, name: str) -> Path | None:
    """Find what is called so, or whose accents are apart, as some systems store them."""
    path = folder / name
    if path.exists() or name.isascii():
        return path if path.exists() else None
    for part in PurePosixPath(name).parts:
        alike = [one for one in _listed_in(folder) if _composed(one.name) == _composed(part)]
        if not alike:
            return None
        folder = min(alike)
    return folder


def _listed_in(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _spellings(pattern: str) -> list[str]:
    """Write a pattern with accents together and apart, folder by folder."""
    parts = [
        dict.fromkeys([part, _composed(part), unicodedata.normalize("NFD", part)])
        for part in pattern.split("/")
    ]
    return ["/".join(one) for one in itertools.product(*parts)]


def _matched(folder: Path, pattern: str) -> list[Path]:
    if not re.search(r"[*?[]", pattern):
        return []
    try:
        found = [
            path
            for one in _spellings(pattern)
            for ending in ("", *PACKED)
            for path in folder.glob(one + ending)
        ]
    except (ValueError, NotImplementedError) as error:
        raise BadInput(f"{pattern} is no pattern of file names: {error}") from error
    hidden = PurePosixPath(pattern).name.startswith(".")
    seen = [path for path in found if hidden or not path.name.startswith(".")]
    names = {path.as_posix() for path in seen}
    return [path for path in seen if unpacked(path.as_posix()) not in names - {path.as_posix()}]


def _parts(folder: Path) -> list[Path]:
    """List the files of a folder that some other tool wrote as one table."""
    found = [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise BadInput(f"{folder.name} is a folder without files: put the table's parts there")
    return found


def _in_order(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """Sort by name, numbers by what they count, each file once."""

    def key(path: Path) -> str:
        return re.sub(r"\d+", lambda digits: digits[0].zfill(20), _label(folder, path))

    return sorted(set(paths), key=lambda path: (key(path), path))


def _found(folder: Path, path: Path) -> Found:
    label = _label(folder, path)
    pairs = [part.split("=", 1) for part in PurePosixPath(label).parts[:-1] if "=" in part]
    values = {unquote(name): None if text == _NO_VALUE else unquote(text) for name, text in pairs}
    return Found(path, label, values)


def _label(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _told(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    if not names:
        return "the folder is empty"
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return f"found {', '.join(names[:_TOLD])}{more}"
