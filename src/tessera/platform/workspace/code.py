"""Which files of ours a module needs: what DVC watches and what a verdict is about."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import tessera

if TYPE_CHECKING:
    from grimp import ImportGraph

SOURCE = Path(tessera.__file__).parents[1]
"""Folder that the names of an import closure are relative to."""
_COMPONENTS = "tessera.contracts.components"


@cache
def import_closure(module: str) -> tuple[str, ...]:
    """Files of ours, relative to src/, that a module imports directly or not, with itself.

    Late imports and those for types count, and a call `component("tessera.some.kind", name)`
    imports every component of the kind.  An `__init__.py` is there only if it is imported for
    itself: it holds nothing but its docstring.
    """
    graph = _imports()
    return tuple(sorted(_file_of(name) for name in {module, *graph.find_upstream_modules(module)}))


def watched(name: str) -> str:
    """Return what stands for a file of an import closure: its package, or itself beside packages.

    >>> watched("tessera/contracts/split.py")
    'tessera/contracts'
    >>> watched("tessera/stages/sid/quantizers/rkmeans.py")
    'tessera/stages/sid'
    >>> watched("tessera/model/params.py")
    'tessera/model/params.py'
    """
    room_and_package = Path(name).parts[:3]
    if len(Path(name).parts) > len(room_and_package):
        return Path(*room_and_package).as_posix()
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

    graph = grimp.build_graph("tessera", cache_dir=None)
    for user in graph.find_modules_that_directly_import(_COMPONENTS):
        for kind in _kinds(SOURCE / _file_of(user)):
            for name in graph.find_children(kind):
                graph.add_import(importer=user, imported=name)
    return graph


def _kinds(path: Path) -> Iterator[str]:
    """Kinds of which a module takes components by their names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "component":
            kind = ast.literal_eval(node.args[0])
            assert isinstance(kind, str), "component() takes its kind as a plain text"
            yield kind
