"""Where nobody logged what was shown, the page says what to log, and the ranking that there is."""

from __future__ import annotations

import pytest

from tessera.contracts.tables import EXPOSURES, OUTCOMES
from tessera.stages.report.page import render

RANKING = {
    "users": 1234,
    "models": {"hstu": {"hr_10": 0.5, "ndcg_10": 0.25, "recall_10": 0.3},
               "ease": {"hr_10": 0.4, "ndcg_10": 0.2, "recall_10": 0.2}},
    "best_baseline": "ease",
    "lead": {"mean": 0.05, "low": 0.01, "high": 0.09},
}  # fmt: skip


@pytest.fixture
def unlogged():
    return {
        "version": 2, "profile": "my-bank", "decision": "INVALID", "reason": "no exposures",
        "n_requests": 0, "counts": {"exposures": 0, "outcomes": 0}, "ranking": RANKING,
        "params": {"window_days": 7.0, "min_ess": 1000.0, "candidate": "model"},
    }  # fmt: skip


def test_it_names_the_profile(unlogged):
    page = render(unlogged, "0" * 64)
    assert "<title>Tessera verdict: INVALID (my-bank)</title>" in page
    assert "<dt>Profile</dt><dd>my-bank</dd>" in page


def test_it_says_what_to_log_in_place_of_empty_sections(unlogged):
    page = render(unlogged, "0" * 64)
    assert "What to log, and how" in page
    for column in (*EXPOSURES.columns, *OUTCOMES.columns):
        assert f"<code>{column.name}</code>" in page
    for section in ("evidence", "prechecks", "guardrails", "controls", "slices"):
        assert f'id="{section}"' not in page


def test_it_shows_the_ranking_and_that_it_decides_nothing(unlogged):
    page = render(unlogged, "0" * 64)
    assert "1,234 test investors" in page
    assert "it decides nothing" in page
    assert "(ease) by +0.0500 nDCG@10, +0.0100 to +0.0900" in page
    assert 'id="ranking"' not in render(unlogged | {"ranking": None}, "0" * 64)


def test_a_log_that_was_there_keeps_its_sections(unlogged):
    page = render(unlogged | {"counts": {"exposures": 9}}, "0" * 64)
    assert "What to log, and how" not in page
    assert 'id="prechecks"' in page
