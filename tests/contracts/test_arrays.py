"""A wrong array is named before anything is computed from it."""

from __future__ import annotations

import numpy as np
import pytest

from tessera.offpolicy import bounds, estimators, sequences, slices
from tessera.offpolicy.clusters import ClusterLog
from tessera.offpolicy.estimators import Log, SlateLog
from tessera.shared.metrics import (
    bootstrap,
    calibration,
    choice,
    diversity,
    popularity,
    profit,
    ranking,
    slates,
)

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


def _closes(item=(0, 0), day=(1, 2), close=(9.0, 8.0)):
    return profit.Closes(np.array(item), np.array(day), np.array(close))


def _clusters(**changed):
    known = {"reward_N": HALF, "chosen_N": TWO, "cluster_NC": TOP}
    shares = dict.fromkeys(("served_NC", "wanted_NC", "guess_NC"), np.full((2, 2), 0.5))
    return ClusterLog(**{**known, **shares, **changed})


def _roi(top=TOP, returns=(0.1, np.nan, 0.2), days=30, k=2):
    return profit.roi(np.array(top), np.array(returns), days, k)


WRONG = {
    "closes of two lengths": (lambda: _closes(day=[1]), "day_P has 1 rows of P where item_P has 2"),
    "closes of no number": (lambda: _closes(item=["a", "b"]), "item_P is no array of numbers"),
    "days as fractions": (lambda: _closes(day=[1.5, 2.0]), "day_P is of float64, not of integers"),
    "a close of nobody": (lambda: _closes(item=[-1, 0]), "item_P names item -1"),
    "days in seconds": (lambda: _closes(day=[1, 1_700_000_000]), "count days since 1970"),
    "a close is NaN": (lambda: _closes(close=NAN), r"close_P holds nan at \[1"),
    "a close is nothing": (lambda: _closes(close=[1.0, 0.0]), "close_P must be positive"),
    "two closes a day": (lambda: _closes(day=[2, 2]), "must ascend: sort them, keep one close a"),
    "closes out of order": (lambda: _closes(item=[1, 0]), "must ascend"),
    "a list of no item": (lambda: _roi([[0, 3]]), "top_NK names item 3 of 3"),
    "a list of item -2": (lambda: _roi([[0, -2]]), "top_NK names item -2"),
    "a list names an item twice": (lambda: _roi([[2, 2]]), "top_NK names item 2 twice in list 0"),
    "a list of shares": (lambda: _roi([[0.0, 1.0]]), "top_NK is of float64"),
    "returns in a table": (lambda: _roi(returns=[[0.1]]), "return_I has 2 dimensions, not 1"),
    "a return without end": (lambda: _roi(returns=[np.inf, 0, 0]), "return_I holds infinity"),
    "a return below nothing": (lambda: _roi(returns=[-1.5, 0, 0]), "nothing loses more than all"),
    "returns of no time": (lambda: _roi(days=0), "days is 0"),
    "the first none": (lambda: _roi(k=0), "k is 0"),
    "the month of a list": (lambda: profit.monthly([0.1], 30), "no array of numbers but list"),
    "the market of a year in percent": (lambda: profit.market_roi(HALF - 2, 30), "return_I holds"),
    "nothing has a price": (
        lambda: profit.roi_draws(TOP, np.full(3, np.nan), 30, 5, RNG),
        "nothing to draw",
    ),
    "a draw of another item": (lambda: profit.roi_draws(TOP, HALF, 30, 5, RNG), "names item 2 of"),
    "moves within no day": (lambda: profit.suspicious_items(_closes(), days=0), "days is 0"),
    "popular is another": (lambda: popularity.top_share(TOP, TWO), "top_NK names item 2 of 2"),
    "holders of shares": (
        lambda: popularity.average_popularity(TOP * 1.0, np.ones(3), 3),
        "top_NK is of float64",
    ),
    "shown is NaN": (lambda: diversity.coverage(NAN), "shown_I holds nan"),
    "an interval of nothing": (
        lambda: bootstrap.percentile_interval(0.0, HALF[:0]),
        "draws_D is empty",
    ),
    "a draw is NaN": (lambda: bootstrap.percentile_interval(0.0, NAN), "draws_D holds nan"),
    "a choice on nobody": (lambda: choice.as_good_as_best([HALF[:0, None]]), "value_MU is empty"),
    "a choice on no period": (lambda: choice.as_good_as_best([]), "periods is empty"),
    "a choice by NaN": (lambda: choice.as_good_as_best([NAN[None]]), "value_MU holds nan"),
    "other choices later": (
        lambda: choice.as_good_as_best([HALF[None], HALF[:, None]]),
        "value_MU has 1 choices, then 2",
    ),
    "a bet on NaN": (lambda: sequences.Wager(NAN, 1.0), "score_N holds nan"),
    "a look beyond the log": (
        lambda: sequences.asymptotic_upper(HALF, 0.05, np.array([3])),
        "looks beyond the 2 units",
    ),
    "a look before the log": (
        lambda: sequences.asymptotic_upper(HALF, 0.05, np.array([0])),
        "looks beyond the 2 units",
    ),
    "a position without a chance": (
        lambda: estimators.iips(HALF[None], HALF[None] - 0.5, HALF[None]),
        "served_NL must be positive",
    ),
    "a weight is NaN": (lambda: estimators.effective_size(NAN), "weight_N holds nan"),
    "clusters of others": (lambda: _clusters(cluster_NC=TOP[:1]), "cluster_NC has 1 rows of N"),
    "a cluster of a share": (lambda: _clusters(cluster_NC=TOP * 0.5), "cluster_NC is of float64"),
    "shown is no candidate": (lambda: _clusters(chosen_N=TWO * 2), "beyond the 2 candidates"),
    "a propensity is NaN": (lambda: _clusters(served_NC=np.array([NAN, NAN])), "served_NC holds"),
    "users are names": (lambda: slices.earlier(np.array(["a"])), "user_N is no array of numbers"),
    "moments are floats": (lambda: slices.periods(HALF), "event_us_N is of float64"),
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
