"""The page docs/api.md: what a person may call, its signatures and what it does, from the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

API = ("api_training", "api_judging")
"""Modules behind `tessera.api`."""
ON_ARRAYS = (
    "offpolicy/estimators",
    "offpolicy/clusters",
    "offpolicy/bounds",
    "offpolicy/sequences",
    "offpolicy/tuning",
    "offpolicy/holm",
    "shared/policies/slate",
    "shared/metrics/ranking",
    "shared/metrics/slates",
    "shared/metrics/diversity",
    "shared/metrics/popularity",
    "shared/metrics/profit",
    "shared/metrics/calibration",
    "shared/metrics/bootstrap",
)
"""Modules whose public names take arrays of NumPy and need nothing else."""
_HEAD = """<!-- Rendered from src/tessera/api.py by `make render`; do not edit. -->
# Tessera as a library

"""
_BELOW = """
## On arrays

The same on arrays of NumPy. The letters behind a name are its shape (`reward_NL`: requests by
positions); arrays of other shapes are refused by a `ValueError` that names the first wrong one, and
so are NaN and infinity where they mean nothing. `help(...)` tells arguments, units and errors.
"""


def api_page(package: Path) -> str:
    """Return the text of the page.

    Parameters
    ----------
    package : Path
        Folder of the library.
    """
    module = _parsed(package / "api.py")
    listed = next(
        ast.literal_eval(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    entries = [
        line
        for name in API
        for node in _public(_parsed(package / f"{name}.py"))
        if node.name in listed
        for line in _entry(node)
    ]
    rooms = [line for name in ON_ARRAYS for line in _room(package, name)]
    return (
        _HEAD
        + "\n".join(
            [
                ast.get_docstring(module) or "",
                "\n## Names of `tessera.api`\n",
                *entries,
                _BELOW,
                *rooms,
            ]
        ).rstrip()
        + "\n"
    )


def _room(package: Path, name: str) -> Iterator[str]:
    module = _parsed(package / f"{name}.py")
    yield f"### `tessera.{name.replace('/', '.')}`\n\n{_sentence(module)}\n"
    for node in _public(module):
        yield from _entry(node)
    yield ""


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def _public(module: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node


def _entry(node: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    yield f"- `{_signature(node)}`<br>{_sentence(node)}"


def _signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    if isinstance(node, ast.FunctionDef):
        returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"{node.name}({ast.unparse(node.args)}){returned}"
    fields = [ast.unparse(one) for one in node.body if isinstance(one, ast.AnnAssign)]
    return f"{node.name}({', '.join(fields)})"


def _sentence(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
