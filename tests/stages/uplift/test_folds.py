"""Folds hold whole investors, in any order of rows; models of different folds are not compared."""

import numpy as np
import pyarrow as pa
import pytest

from tessera.stages.uplift.curves import Arms, ate, qini
from tessera.stages.uplift.folds import fold_of, folds_of, ranks


def column(ids):
    return pa.chunked_array([pa.array(ids)])


def test_an_investor_is_in_one_fold_wherever_his_rows_stand(rng):
    ids = np.array([f"u{number}" for number in rng.integers(0, 300, 5000)])
    fold_R = folds_of(column(ids), 5, 7)
    assert all(len(np.unique(fold_R[ids == user])) == 1 for user in np.unique(ids))
    order = rng.permutation(5000)
    np.testing.assert_array_equal(folds_of(column(ids[order]), 5, 7), fold_R[order])
    some = ids[:100]
    np.testing.assert_array_equal(folds_of(column(some), 5, 7), fold_R[:100])


def test_the_hash_is_the_same_in_every_process_and_release():
    assert [fold_of(f"u{number}", 3, 7) for number in range(8)] == [2, 2, 0, 1, 1, 0, 2, 0]


def test_folds_are_of_like_size_and_another_seed_deals_them_anew():
    ids = column([f"u{number:05d}" for number in range(9000)])
    dealt_R = folds_of(ids, 3, 7)
    np.testing.assert_allclose(np.bincount(dealt_R), 3000, atol=150)
    assert (folds_of(ids, 3, 8) == dealt_R).mean() == pytest.approx(1 / 3, abs=0.02)


def test_ties_are_broken_by_chance_and_not_by_time(rng):
    rank_R = ranks(np.ones(4000), np.zeros(4000, dtype=np.int64), rng)
    assert abs(np.corrcoef(rank_R, np.arange(4000))[0, 1]) < 0.06
    assert sorted(rank_R) == pytest.approx((np.arange(4000) + 0.5) / 4000)


def test_a_model_that_knows_only_the_average_is_worth_nothing_rather_than_less(rng):
    # Pooled without ranks, each fold's average of the others orders the folds backwards.
    pooled, ranked = [], []
    fold_R = np.repeat(np.arange(3), 400)
    for _ in range(60):
        arms = Arms(rng.random(1200) < 0.5, np.ones(1200), (rng.random(1200) < 0.3).astype(float))
        parts = [pick(arms, fold_R != fold) for fold in range(3)]
        score_R = np.array([ate(part) for part in parts])[fold_R]
        pooled.append(qini(arms, score_R))
        ranked.append(qini(arms, ranks(score_R, fold_R, rng)))
    error = np.std(ranked) / np.sqrt(60)
    assert np.mean(pooled) < -3 * error
    assert abs(np.mean(ranked)) < 2.5 * error


def pick(arms, kept_R):
    return Arms(arms.treated_R[kept_R], arms.weight_R[kept_R], arms.outcome_R[kept_R])
