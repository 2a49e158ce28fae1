"""Intervals of a table: as wide as their level asks, of as many draws as were asked for."""

import numpy as np
import pytest

from tessera.stages.evaluate import intervals
from tessera.stages.evaluate.params import EvaluateParams


@pytest.fixture
def ndcg_of(rng):
    return {"hstu": rng.random(200), "popularity": 0.5 * rng.random(200)}


def width(found):
    told = found["ndcg_10"]["hstu"]
    return told["high"] - told["low"]


def test_a_higher_level_asks_for_a_wider_interval(ndcg_of):
    wide, narrow = (
        width(intervals.ndcg_intervals(ndcg_of, EvaluateParams(level=level)))
        for level in (0.99, 0.6)
    )
    assert wide > 2 * narrow > 0


def test_the_investors_are_redrawn_as_often_as_asked(ndcg_of, monkeypatch):
    real, seen = intervals.resampled_means, []

    def spied(value_NM, draws, rng):
        found = real(value_NM, draws, rng)
        seen.append(found.shape)
        return found

    monkeypatch.setattr(intervals, "resampled_means", spied)
    intervals.ndcg_intervals(ndcg_of, EvaluateParams(draws=33))
    assert seen == [(33, 2)]


def test_another_root_redraws_others(ndcg_of):
    one, two = (intervals.ndcg_intervals(ndcg_of, EvaluateParams(seed=seed)) for seed in (1, 2))
    assert one["ndcg_10"]["hstu"]["low"] != two["ndcg_10"]["hstu"]["low"]
    assert np.isclose(one["ndcg_10"]["hstu"]["mean"], two["ndcg_10"]["hstu"]["mean"])
