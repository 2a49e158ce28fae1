"""Every example holds: those of docstrings, and the ten lines of the pages, as they stand there."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
DENSE = (
    "tessera.model.sequences.histories",
    "tessera.model.sequences.slates",
    "tessera.offpolicy.bounds",
    "tessera.offpolicy.replay",
    "tessera.shared.policies.slate",
    "tessera.stages.causal.robust",
)
"""Array code that nobody reads without a worked example."""
EXAMPLES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for path in SOURCE.rglob("*.py")
    if ">>> " in path.read_text()
)
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_in_the_docstrings_hold(module):
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 0
    assert found.failed == 0


def test_dense_code_has_an_example():
    assert set(DENSE) <= set(EXAMPLES)


@pytest.fixture
def market(tmp_path, monkeypatch, served_market):
    """Lay the tables of a small market where those of a run lie."""
    folder = tmp_path / "data" / "market"
    folder.mkdir(parents=True)
    for name, rows in served_market.items():
        pq.write_table(rows, folder / f"{name}.parquet")
    monkeypatch.chdir(tmp_path)
    return served_market


def examples(page):
    return BLOCK.findall((ROOT / page).read_text())


def test_both_pages_show_the_same_examples_of_about_ten_lines():
    shown = examples("docs/api.md")
    assert [block for block in examples("README.md") if "tessera" in block] == shown
    assert len(shown) == 2
    for block in shown:
        assert len([line for line in block.splitlines() if line]) <= 10


def test_the_lists_of_the_example_are_those_of_everybody(market, capsys):
    names = {}
    exec(examples("docs/api.md")[0], names)
    lists = names["lists"]
    assert set(lists["user_id"].to_pylist()) == set(market["events"]["user_id"].to_pylist())
    assert max(lists["rank"].to_pylist()) == 5
    assert "item_id" in capsys.readouterr().out


def test_the_answer_of_the_example_is_printed_with_its_bound(market, capsys):
    names = {}
    exec(examples("docs/api.md")[1], names)
    answer = names["answer"]
    assert answer.lower < answer.estimates["dr"].mean < answer.upper
    assert capsys.readouterr().out.startswith(f"{answer.decision} {answer.reason}")
