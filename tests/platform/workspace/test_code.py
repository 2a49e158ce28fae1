"""What a module imports is found whole: late, for types, through a detour, and never twice."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tessera.platform.workspace.catalogue import ALL_STAGES
from tessera.platform.workspace.code import SOURCE, import_closure, watched


def by_hand(module: str) -> set[str]:
    """Every file below src that a module reaches by an import, found by reading each."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        base = SOURCE / Path(*waiting.pop().split("."))
        path = next(
            (p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None
        )
        if path is None or path.relative_to(SOURCE).as_posix() in found:
            continue
        found.add(path.relative_to(SOURCE).as_posix())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                waiting += [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "component":
                kind = ast.literal_eval(node.args[0])
                folder = SOURCE / Path(*kind.split("."))
                waiting += [kind, *(f"{kind}.{one.stem}" for one in folder.glob("*.py"))]
    return {name for name in found if name.startswith("tessera/")}


@pytest.mark.parametrize("stage", ALL_STAGES, ids=lambda stage: stage.name)
def test_a_closure_is_what_reading_every_file_gives(stage):
    expected = by_hand(stage.entry_point)
    found = set(import_closure(stage.entry_point))
    assert found == {name for name in expected if not name.endswith("/__init__.py")}
    assert {watched(name) for name in found} == {watched(name) for name in expected}


def test_a_late_import_counts():
    assert "tessera/stages/sid/rqvae.py" in import_closure("tessera.stages.sid.stage")
