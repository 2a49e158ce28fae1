"""People, hooks and CI lint by the same commands."""

from __future__ import annotations

import subprocess

import pytest
import yaml

TOOLS = ("mypy", "ruff check .", "ruff format --check .", "lint-imports", "tessera render --check")


@pytest.fixture(scope="module")
def lint(repository):
    """What `make lint` would run."""
    words = ["make", "-n", "-o", ".venv/.installed", "lint"]
    return subprocess.run(words, cwd=repository, capture_output=True, text=True, check=True).stdout


def test_lint_runs_every_tool(lint):
    ran = {tool.strip() for line in lint.splitlines() for tool in line.split("&&")}
    assert set(TOOLS) <= ran


def test_a_hook_stands_for_each_part_of_lint_and_fetches_nothing(lint, repository):
    (told,) = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())["repos"]
    assert told["repo"] == "local"
    hooks = [hook["entry"].removeprefix("make ") for hook in told["hooks"]]
    assert f"-j 2 {' '.join(hooks)}\n" in lint
    assert {hook["language"] for hook in told["hooks"]} == {"system"}
