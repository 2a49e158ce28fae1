"""The recipes of CONTRIBUTING work: they are followed in a copy, to the letter."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
FORKS = """
import gc, importlib, json, os, sys
import pytest
from tessera.platform.workspace.catalogue import ALL_STAGES
for stage in ALL_STAGES:
    importlib.import_module(stage.entry_point)
gc.freeze()
for line in sys.stdin:
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        code = 1
        try:
            code = int(pytest.main(json.loads(line)))
        finally:
            sys.stdout.flush()
            os._exit(code)
    print("CODE", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Does what `pytest` does for each list of words, in a fork that has the stages imported."""
COPIED = ("src", "tests", "docs", "profiles", "great_expectations", "monitoring", "benchmarks")
_RECIPE = re.compile(r"^### Add (an? \w+)\n(.*?)(?=^##)", re.DOTALL | re.MULTILINE)
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """What a recipe shows: `diff`, `sh`, or the language of a new file."""

    kind: str
    text: str

    def follow(self, root):
        """Do as it says; return the files that it wrote."""
        if self.kind == "sh":
            return []
        first, _, rest = self.text.partition("\n")
        path = root / first.removeprefix("--- ").removeprefix("# ")
        if self.kind == "diff":
            path.write_text(changed(path.read_text(), rest, first))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            assert not path.exists(), f"{path} is there already"
            path.write_text(rest)
        return [path]


def changed(text, diff, name):
    """Change the lines of a diff, which must stand once in a text."""
    lines = [(line[:1], line[1:]) for line in diff.splitlines()]
    before, after = ("\n".join(line for mark, line in lines if mark != gone) for gone in ("+", "-"))
    assert text.count(before) == 1, f"{name}: {text.count(before)} times: {before}"
    return text.replace(before, after)


def blocks(text):
    """List the blocks of a recipe, without the indent of their step."""
    return [Block(kind, dedent(code)) for _, kind, code in _BLOCK.findall(text)]


RECIPES = {name: blocks(text) for name, text in _RECIPE.findall(TEXT)}


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """Return a copy in which every recipe was followed and rendered, and the files written."""
    root = tmp_path_factory.mktemp("recipes") / "copy"
    unwanted = shutil.ignore_patterns("__pycache__", ".*")
    for name in COPIED:
        shutil.copytree(ROOT / name, root / name, ignore=unwanted)
    for path in (*ROOT.glob("*.*"), ROOT / ".dvcignore", ROOT / "Makefile"):
        if path.is_file():
            shutil.copy(path, root)
    wrote = {path for recipe in RECIPES.values() for one in recipe for path in one.follow(root)}
    succeeds(root, sys.executable, "-m", "tessera", "render")
    return root, sorted(wrote)


def environment(root):
    """Environment in which the copy alone is imported."""
    named = {name: value for name, value in os.environ.items() if not name.startswith("TESSERA")}
    return named | {"PYTHONPATH": f"{root / 'src'}:{root}"}


def succeeds(root, *words):
    """Run a command in the copy; return what it said."""
    done = subprocess.run(
        words, cwd=root, env=environment(root), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def passes(followed):
    """Run pytest in the copy with these words, which must pass; return what it said."""
    root, _ = followed
    with subprocess.Popen(
        [sys.executable, "-c", FORKS],
        cwd=root,
        env=environment(root),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:

        def run(*words):
            process.stdin.write(json.dumps(words) + "\n")
            process.stdin.flush()
            said = []
            while not (said and said[-1].startswith("CODE ")):
                said.append(next(process.stdout))
            assert said.pop() == "CODE 0\n", "".join(said)
            return "".join(said)

        yield run
        process.stdin.close()


def test_the_recipes_are_those_of_the_parts_that_people_add():
    assert list(RECIPES) == ["a stage", "a source", "a model", "a quantizer", "a retriever"]
    for name, recipe in RECIPES.items():
        assert [one.kind for one in recipe].count("sh") == 1, name
        assert {"python", "diff"} <= {one.kind for one in recipe}, name


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_a_recipe_ends_with_passes(recipe, passes):
    (command,) = (one.text for one in RECIPES[recipe] if one.kind == "sh")
    program, *words = shlex.split(command)
    assert program == "pytest"
    said = passes("-q", "-pno:cacheprovider", *words)
    assert int(re.findall(r"(\d+) passed", said)[-1]) >= 2, said


def test_after_all_of_them_the_copy_is_rendered_and_the_floors_hold(followed):
    root, wrote = followed
    assert "stages.turnover" in (root / "dvc.yaml").read_text().replace("/", ".")
    assert "turnover:" in (root / "params.yaml").read_text()
    succeeds(root, sys.executable, "-m", "tessera", "render", "--check")
    succeeds(root, Path(sys.executable).parent / "lint-imports", "--no-cache")
    python = [path for path in wrote if path.suffix == ".py"]
    succeeds(root, Path(sys.executable).parent / "ruff", "check", "--no-cache", *python)
    succeeds(root, Path(sys.executable).parent / "ruff", "format", "--check", *python)


def test_a_line_that_no_longer_stands_there_is_seen():
    diff = " here\n-old\n+new"
    assert changed("here\nold\nend\n", diff, "x") == "here\nnew\nend\n"
    for text in ("here\nother\n", "here\nold\nhere\nold\n"):
        with pytest.raises(AssertionError, match="x: [02] times"):
            changed(text, diff, "x")


def test_what_the_table_of_kinds_names_is_there():
    rows = re.findall(r"^\| [a-z].*\|$", TEXT, re.MULTILINE)[1:]
    assert len(rows) == 6
    for row in rows:
        named, law = row.split("|")[3:5]
        words = re.findall(r"`([^`]+)`", named)
        assert (ROOT / law.strip(" `")).exists(), law
        for path in (word for word in words if "/" in word):
            for word in (word for word in words if word.isidentifier()):
                assert word in (ROOT / path).read_text(), f"{path} has no {word}"
