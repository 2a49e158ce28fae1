"""The printed summary shows how items with little or no past are found."""

from __future__ import annotations

import pytest
from rich.console import Console

from tessera.platform.cli.summary import _next_steps, _ranking_table
from tessera.platform.release.registry import Published

MODEL = {"hr_10": 0.5, "ndcg_10": 0.25, "recall_50": 0.75, "coverage_10": 1.0}


def printed(later):
    young = {"ours": {"recall_10": 0.125}, "theirs": {"recall_10": 0.0}}
    found = {
        "users": 1234,
        "models": {"ours": MODEL, "theirs": MODEL | {"roi_10": 0.0625}},
        "slices": {"cold_items": {"users": 9, "models": young}, "born_after_cut": later},
    }
    out = Console(width=100, record=True)
    out.print(_ranking_table(found))
    return out.export_text()


def rows(text):
    cells = [[cell.strip() for cell in line.split("\u2502")[1:-1]] for line in text.splitlines()]
    return {row[0]: row[1:] for row in cells if row}


def test_recall_of_cold_items_and_of_those_born_later_are_columns():
    text = printed({"users": 3, "models": {"ours": {"recall_10": 0.375}}})
    assert "1,234 test investors" in text
    assert rows(text)["ours"] == ["0.5000", "0.2500", "0.7500", "1.0000", "", "0.1250", "0.3750"]
    assert rows(text)["theirs"][4:] == ["0.0625", "0.0000", ""]


def test_where_nothing_is_born_later_the_reason_stands_below():
    text = printed({"users": 0, "models": None, "why": "no item is first offered after the cut"})
    assert rows(text)["ours"] == ["0.5000", "0.2500", "0.7500", "1.0000", "", "0.1250"]
    assert "(no item is first offered after the cut)" in " ".join(text.split())


@pytest.mark.parametrize(("version", "told"), [(None, True), ("v1", False)])
def test_a_list_that_needs_a_publication_first_says_so(workspace, version, told):
    out = Console(width=100, record=True)
    _next_steps(workspace, Published(version, False, "INVALID", "no exposures"), out)
    text = out.export_text()
    assert ("with reasons, once published" in text) is told
    assert ("tessera promote" in text) is told
