"""The rendered Great Expectations project says what the contracts say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tessera.contracts.tables import TABLES
from tessera.platform.validation.suites import (
    expectations,
    list_columns,
    render_suites,
    rendered,
    shown_columns,
    suites_up_to_date,
)

COMMITTED = Path(__file__).parents[3] / "great_expectations"


def test_committed_suites_are_up_to_date():
    assert suites_up_to_date(COMMITTED) == []


def test_the_folder_holds_no_python_that_would_shadow_the_library():
    assert not list(COMMITTED.rglob("*.py"))


def test_rendering_twice_gives_the_same_bytes():
    assert rendered() == rendered()


def test_a_changed_a_missing_and_a_stray_suite_are_named(tmp_path):
    render_suites(tmp_path)
    (tmp_path / "expectations/events.json").write_text("{}")
    (tmp_path / "checkpoints/items.json").unlink()
    (tmp_path / "expectations/ghosts.json").write_text("{}")
    assert sorted(suites_up_to_date(tmp_path)) == [
        "checkpoints/items.json is missing",
        "expectations/events.json is out of date",
        "expectations/ghosts.json has no table",
    ]
    render_suites(tmp_path)
    assert suites_up_to_date(tmp_path) == []
    assert not (tmp_path / "expectations/ghosts.json").exists()


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_promise_of_a_contract_has_an_expectation(table):
    found = [(one["type"], json.dumps(one["kwargs"])) for one in expectations(table)]
    kinds = [kind for kind, _ in found]
    for column in table.columns:
        mine = {kind for kind, text in found if f'"column": "{column.name}"' in text}
        assert ("expect_column_values_to_not_be_null" in mine) != column.nullable
        assert ("expect_column_values_to_be_in_set" in mine) == (column.allowed is not None)
        bounded = column.floor is not None or column.positive or column.dtype == "float64"
        assert ("expect_column_values_to_be_between" in mine) == bounded
    assert sum("unique" in kind for kind in kinds) == bool(table.key)
    assert len(shown_columns(table)) == len(table.names) + 2 * len(list_columns(table))
