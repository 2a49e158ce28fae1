"""Codes where most assets were never traded: whom a prior moves, and how a lead is pooled."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.crowding import pooled
from benchmarks.crowding_lists import PRIOR, PRIORS, Said, chosen, shared
from tessera.model.sequences.questions import Question
from tessera.model.sequences.windows import Windows
from tessera.model.trunk.closed_form import ClosedForm

COSINE = torch.tensor([[0.0, 0.3, 0.9, 0.5], [0.0, 0.3, 0.9, 0.5]])
"""Of two people with three items behind padding; nobody ever acquired the second."""
WARM = torch.tensor([False, True, False, True])


@pytest.fixture
def said():
    found = ClosedForm(4, 0, 1, profits=False)
    found.let(trend=0.02)
    none = np.zeros(2, np.int64)
    asked = Question(
        np.arange(2), Windows(none, none, none), None, (np.array([0, 1]), np.array([3, 1])),
        np.array([False, True, True, True]),
    )  # fmt: skip
    model = SimpleNamespace(closed_form=found, warm_V=WARM, placed_V=lambda: torch.ones(4).bool())
    nothing = {name: torch.zeros(2, 4) for name in found.mix}
    return Said(asked, model, torch.ones(2, 1), {False: COSINE, True: COSINE}, nothing)


def test_a_prior_is_taken_off_what_nobody_acquired_alone(said):
    tops = [said.lists({PRIOR: prior}, 3).item_UK[0].tolist() for prior in (0.0, 0.5, np.inf)]
    assert tops == [[2, 3, 1], [3, 2, 1], [3, 1, 0]]
    assert said.lists({PRIOR: 0.5}).score_UK[0, 0] == pytest.approx(0.5)
    assert said.never_V.tolist() == [False, False, True, False]


def test_validation_chooses_the_prior_that_lets_what_is_acquired_come_first(said):
    found = chosen(said)
    assert [found[name][PRIOR] for name in ("trunk", "hstu")] == [0.0, 0.0]
    assert [found[name][PRIOR] for name in ("trunk_prior", "hstu_prior")] == [np.inf, np.inf]


def test_no_part_and_every_mix_with_the_published_trend_is_tried_with_every_prior(said):
    mixes = said.mixes()
    demands = {mix["demand"] for mix in said.model.closed_form.choices()}
    assert len(mixes) == 2 + (1 + len(demands)) * len(PRIORS)
    with_trend = [mix for mix in mixes if mix["trend"] == pytest.approx(0.02)]
    assert len(with_trend) == 1 + len(demands) * len(PRIORS)


def test_an_item_shares_as_many_first_codewords_as_are_asked():
    codes_VC = np.array([[0, 0], [1, 1], [1, 2], [2, 1]])
    of_V, with_V = np.array([False, False, True, True]), np.array([False, True, False, False])
    assert shared(codes_VC, of_V, with_V, 1).tolist() == [True, False]
    assert shared(codes_VC, of_V, with_V, 2).tolist() == [False, False]


def test_seeds_are_no_more_investors():
    """Two seeds that say the same of everybody know as much as one."""
    ours, theirs = [0.2, 0.4, 0.9], [0.1, 0.5, 0.5]
    assert pooled([ours, ours], [theirs, theirs]) == pooled([ours], [theirs])
    assert pooled([ours, theirs], [theirs, theirs])["mean"] == pytest.approx(0.2 / 3, abs=1e-4)
