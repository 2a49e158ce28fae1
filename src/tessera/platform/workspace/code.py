"""Which files of ours a module needs: what DVC watches and what a verdict is about."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import tessera

if TYPE_CHECKING:
    from grimp import ImportGraph

SOURCE = Path(tessera.__file__).parents[1]
"""Folder that the names of an import closure are relative to."""


@cache
def import_closure(module: str) -> tuple[str, ...]:
    """Files of ours, relative to src/, that a module imports directly or not, with itself.

    Late imports and those for types count.  An `__init__.py` is there only if it is imported for
    itself: it holds nothing but its docstring.
    """
    graph = _imports()
    return tuple(sorted(_file_of(name) for name in {module, *graph.find_upstream_modules(module)}))


def watched(name: str) -> str:
    """Return what stands for a file of an import closure: its package, or itself beside packages.

    >>> watched("tessera/contracts/split.py")
    'tessera/contracts'
    >>> watched("tessera/model/params.py")
    'tessera/model/params.py'
    """
    folder = SOURCE / Path(name).parent
    has_rooms = any(path.parent != folder for path in folder.glob("*/__init__.py"))
    return name if has_rooms else Path(name).parent.as_posix()


def _file_of(module: str) -> str:
    base = Path(*module.split("."))
    file = base.with_suffix(".py")
    return (file if (SOURCE / file).is_file() else base / "__init__.py").as_posix()


@cache
def _imports() -> ImportGraph:
    """Draw every import of ours; once a process, as a fork of it may not start threads again."""
    import grimp

    return grimp.build_graph("tessera", cache_dir=None)
