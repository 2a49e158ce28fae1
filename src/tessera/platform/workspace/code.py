"""Which files of ours a module needs: what DVC watches and what a verdict is about."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import tessera

_PACKAGE = Path(tessera.__file__).parent


SOURCE = _PACKAGE.parent
"""Folder that the names of an import closure are relative to."""


@cache
def import_closure(module: str) -> tuple[str, ...]:
    """Files of ours, relative to src/, that a module imports directly or not, with itself.

    A call `component("tessera.some.kind", name)` imports every component of the kind.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        path = _file_of(waiting.pop())
        if path is None or str(path) in found:
            continue
        found.add(str(path))
        waiting.extend(_imports(path))
    return tuple(sorted(Path(name).relative_to(_PACKAGE.parent).as_posix() for name in found))


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


def _file_of(module: str) -> Path | None:
    base = _PACKAGE.parent / Path(*module.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _components(call: ast.Call) -> list[str]:
    kind = ast.literal_eval(call.args[0])
    assert isinstance(kind, str), "component() takes its kind as a plain text"
    return [f"{kind}.{path.stem}" for path in (SOURCE / Path(*kind.split("."))).glob("*.py")]


@cache
def _imports(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "component":
            names += _components(node)
    return [name for name in names if name.startswith("tessera.")]
