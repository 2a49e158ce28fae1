"""A param that nobody turns is a constant: each has a profile, a benchmark or a test that turns it.

A test counts where a function of it, or what it is parametrized by, names the param; constants and
fixtures that make a model small do not: they do not show what the param does.  Names are read from
the text, so a word that means two things passes for both; what is looked into are files that speak
of the section.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from tessera.contracts.params import DATA, owned, read_of_data
from tessera.platform.workspace.params import section_types

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = {"hstu": ("tests/model/", "tests/stages/hstu/")}
"""Where tests of a section lie, if not in the folder of its name."""
ELSEWHERE = {"tests/house/test_params_are_turned.py", "tests/laws/test_generation_law.py"}
"""Files that name params without turning any."""
PARAMS = [f"{name}.{key}" for name, kind in section_types().items() for key in owned(kind)]


def named(tree: ast.AST) -> Iterator[str]:
    """Names that are given a value: arguments, keys, and words before `:` or `=` in a text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, ast.Dict):
            yield from (key.value for key in node.keys if isinstance(key, ast.Constant))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"(\w+)\s*[:=]", node.value)
            yield from re.findall(r"^\w+$", node.value)


def turned_in(path: Path) -> set[str]:
    """Names that a file turns; of a file of tests, those that its tests turn."""
    tree = ast.parse(path.read_text())
    if path.is_relative_to(REPOSITORY / "benchmarks"):
        return set(named(tree))
    tests = [node for node in ast.walk(tree)
             if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]  # fmt: skip
    return {name for test in tests for name in named(test)}


@cache
def sources() -> list[tuple[str, str, set[str]]]:
    """Name, text and turned names of each benchmark and file of tests."""
    found = [*REPOSITORY.glob("benchmarks/**/*.py"), *REPOSITORY.glob("tests/**/*.py")]
    paths = {path.relative_to(REPOSITORY).as_posix(): path for path in sorted(found)}
    return [
        (name, path.read_text(), turned_in(path))
        for name, path in paths.items()
        if name not in ELSEWHERE
    ]


@cache
def said_by_profiles() -> set[str]:
    said = [yaml.safe_load(path.read_text()) or {} for path in REPOSITORY.glob("profiles/*.yaml")]
    return {f"{section}.{key}" for one in said for section, values in one.items()
            if isinstance(values, dict) for key in values}  # fmt: skip


def speaks_of(section: str, name: str, text: str) -> bool:
    folders = FOLDERS.get(section, (f"tests/stages/{section}/",))
    words = (f"{section.capitalize()}Params", f'"{section}"', f"{section}:", f"{section}.")
    return name.startswith(folders) or any(word in text for word in words)


def turners(param: str) -> list[str]:
    """What turns a param; one of `data` is turned with any section that reads it."""
    section, key = param.split(".")
    readers = [name for name, kind in section_types().items() if key in read_of_data(kind)]
    sections = [section, *(readers if section == DATA else ())]
    profiles = ["profiles"] if param in said_by_profiles() else []
    return profiles + [
        name
        for name, text, turned in sources()
        if key in turned and any(speaks_of(one, name, text) for one in sections)
    ]


@pytest.mark.parametrize("param", PARAMS)
def test_somebody_turns_it(param):
    assert turners(param), f"nobody turns {param}: make it a constant, or show what it does"


def test_a_param_that_nobody_turns_is_found():
    assert not turners("hstu.never_heard_of")
    assert not turners("monitor.trees"), "another section turns it"
