"""A wrong array is named before anything is computed from it."""

from __future__ import annotations

import numpy as np
import pytest

from tessera.metrics import bootstrap, calibration, diversity, popularity, ranking, slates
from tessera.ope import bounds, sequences
from tessera.ope.estimators import Log, SlateLog

TOP = np.array([[0, 1], [2, -1]])
HITS = np.array([[True, False], [False, True]])
TWO = np.array([1, 1])
HALF = np.full(2, 0.5)
NAN = np.array([0.5, np.nan])
RNG = np.random.default_rng(7)
FOUR = ["reward_NL", "weight_NL", "guess_NL", "baseline_NL"]


def _log(**changed):
    names = ("reward_N", "served_N", "wanted_N", "guess_N", "baseline_N")
    return Log(**{**dict.fromkeys(names, HALF), **changed})


WRONG = {
    "lists are flat": (lambda: diversity.times_shown(TOP[0], 3), "top_NK has 1 dimensions, not 2"),
    "an item of no number": (lambda: diversity.times_shown(TOP, 2), "top_NK names item 2 of 2"),
    "an item twice": (lambda: ranking.hits(np.array([[3, 3]]), TWO[:0], TWO[:0]), "item 3 twice"),
    "pairs of two lengths": (
        lambda: ranking.hits(TOP, TWO, TWO[:1]),
        "relevant_item_R has 1 rows of R where relevant_user_R has 2",
    ),
    "items that are floats": (lambda: ranking.hits(TOP * 1.0, TWO, TWO), "top_NK is of float64"),
    "a score is NaN": (lambda: ranking.top_items(NAN[None], 1), "scores_NI holds NaN"),
    "scores are text": (lambda: ranking.top_items(np.array([["a"]]), 1), "scores_NI is no array"),
    "scores are a list": (lambda: ranking.top_items([[1.0]], 1), "no array of numbers but list"),
    "relevant of others": (lambda: ranking.recall(HITS, TWO[:1], 2), "relevant_N has 1 rows"),
    "relevant are shares": (lambda: ranking.ndcg(HITS, HALF, 2), "relevant_N is of float64"),
    "nothing to draw": (lambda: bootstrap.mean_interval(HALF[:0], RNG), "values_NM has no rows"),
    "a value is NaN": (lambda: bootstrap.mean_interval(NAN, RNG), r"values_NM holds nan at \[1"),
    "scores as chances": (lambda: calibration.brier(TWO * 3.0, HALF), "must lie in"),
    "chances of others": (lambda: calibration.brier(HALF, HALF[:1]), "outcome_N has 1 rows of N"),
    "holders are NaN": (
        lambda: popularity.average_popularity(TOP, np.array([1, np.nan, 2]), 3),
        "holders_I holds nan",
    ),
    "labels of others": (lambda: slates.slate_auc(HALF[None], NAN[None, :1], HITS[:1]), "label_RM"),
    "a score that counts is NaN": (
        lambda: slates.slate_auc(NAN[None], HALF[None], np.ones((1, 2), bool)),
        "score_RM holds NaN",
    ),
    "a reward is NaN": (lambda: _log(reward_N=NAN), "reward_N holds nan"),
    "shown without a chance": (lambda: _log(served_N=HALF - 0.5), "served_N must be positive"),
    "guesses of others": (lambda: _log(guess_N=HALF[:1]), "guess_N has 1 rows of N"),
    "a slate weight is infinite": (
        lambda: SlateLog(*(HALF[None] if n != "weight_NL" else HALF[None] * np.inf for n in FOUR)),
        "weight_NL holds inf",
    ),
    "a mean of nothing": (lambda: bounds.normal(HALF[:0], 0.05), "value_N is empty"),
    "a bound of NaN": (lambda: bounds.normal(NAN, 0.05), "value_N holds nan"),
    "clusters are floats": (lambda: bounds.skew_corrected(HALF, HALF, 0.05), "not of integers"),
    "a sequence of NaN": (lambda: sequences.asymptotic_upper(NAN, 0.05, TWO), "value_N holds nan"),
}


@pytest.mark.parametrize("case", WRONG)
def test_it_is_one_line_that_names_the_array(case):
    call, says = WRONG[case]
    with pytest.raises(ValueError, match=says) as told:
        call()
    assert "\n" not in str(told.value)


def test_an_empty_place_may_repeat_and_hidden_scores_may_be_nan():
    assert not ranking.hits(np.array([[4, -1, -1]]), TWO[:0], TWO[:0]).any()
    shown = np.array([[True, False]])
    assert np.isnan(slates.slate_auc(NAN[None], HALF[None], shown))
