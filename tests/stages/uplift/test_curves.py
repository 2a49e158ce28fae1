"""Resamples equal repeated rows, and a score that knows nothing has uniform p-values."""

import numpy as np
import pytest

from tessera.stages.uplift.curves import (
    POINTS,
    Arms,
    Shuffles,
    areas,
    ate,
    auuc,
    averages,
    p_value,
    points,
    qini,
    qinis,
    resampled,
    tally,
)
from tessera.stages.uplift.report import interval


def drawn_arms(rng, rows=400):
    treated_R = rng.random(rows) < 0.4
    weight_R = rng.uniform(1.0, 3.0, rows)
    return Arms(treated_R, weight_R, (rng.random(rows) < 0.2 + 0.2 * treated_R).astype(float))


def repeated(arms, times_R):
    return Arms(*(np.repeat(part_R, times_R) for part_R in (
        arms.treated_R, arms.weight_R, arms.outcome_R)))  # fmt: skip


def test_a_resample_of_investors_is_their_trials_repeated(rng):
    arms, cluster_R = drawn_arms(rng), rng.integers(0, 50, 400)
    point_R = points(rng.random(400))
    times_BU = rng.integers(0, 3, (2, 50)).astype(float)
    found_B22P = resampled(arms, point_R, cluster_R, times_BU)
    for times_U, found_22P in zip(times_BU.astype(int), found_B22P, strict=True):
        again = repeated(arms, times_U[cluster_R])
        expected = tally(again, np.repeat(point_R, times_U[cluster_R]))
        assert areas(found_22P) == pytest.approx(areas(expected), abs=1e-12)
        assert averages(found_22P) == pytest.approx(ate(again), abs=1e-12)


def test_the_steps_of_a_curve_are_fine_enough(rng):
    arms, score_R = drawn_arms(rng, 20_000), rng.random(20_000)
    exact = float(areas(tally(arms, np.argsort(np.argsort(-score_R)))))
    spread = np.std([qini(arms, rng.random(20_000)) for _ in range(20)])
    assert points(score_R).max() == POINTS - 1
    assert abs(auuc(arms, score_R) - exact) < 0.1 * spread


def p_values_of_noise(rng, users, trials_each, shuffled):
    """P-values of scores of investors who react differently, none of which the score knows."""
    found = []
    for _ in range(200):
        cluster_R = np.repeat(np.arange(users), trials_each)
        treated_R = rng.random(len(cluster_R)) < 0.5
        reacts_R = (rng.random(users) < 0.5)[cluster_R]
        outcome_R = (rng.random(len(cluster_R)) < 0.1 + 0.8 * (treated_R & reacts_R)).astype(float)
        arms = Arms(treated_R, np.full(len(cluster_R), 2.0), outcome_R)
        point_R = points(rng.random(users)[cluster_R])
        who_R = cluster_R if shuffled == "investors" else np.arange(len(cluster_R))
        found.append(p_value(arms, point_R, Shuffles(who_R, rng), 39))
    return np.array(found)


def test_the_p_values_of_noise_are_uniform(rng):
    found = p_values_of_noise(rng, 40, 10, "investors")
    assert set(np.round(found * 40)) <= set(range(1, 41))
    # 200 draws: the largest gap of a uniform sample is above .115 in 1 % of cases.
    gap = np.abs(np.sort(found) - np.arange(1, 201) / 200).max()
    assert gap < 0.115 + 1 / 40
    # The planted bug: trials shuffled one by one find an order in what investors have in common.
    assert (p_values_of_noise(rng, 40, 10, "trials") <= 0.05).mean() > 0.12


def test_a_score_that_knows_the_effect_gets_the_least_p_value(rng):
    treated_R, reacts_R = rng.random(2000) < 0.5, rng.random(2000) < 0.5
    outcome_R = (rng.random(2000) < 0.1 + 0.5 * (treated_R & reacts_R)).astype(float)
    arms = Arms(treated_R, np.full(2000, 2.0), outcome_R)
    shuffles = Shuffles(np.arange(2000), rng)
    assert p_value(arms, points(1.0 * reacts_R + rng.random(2000)), shuffles, 19) == 0.05
    assert p_value(arms, points(-1.0 * reacts_R - rng.random(2000)), shuffles, 19) > 0.9


def test_a_shuffle_hands_on_whole_investors(rng):
    cluster_R = np.repeat(np.arange(30), 4)
    order = rng.permutation(120)
    drawn_R = Shuffles(cluster_R[order], rng).draw(cluster_R[order])
    for user in range(30):
        assert len(set(drawn_R[cluster_R[order] == user])) == 1
    assert sorted(drawn_R) == sorted(cluster_R)


def test_an_interval_of_95_in_100_covers_zero_for_noise_as_often(rng):
    covered = []
    for _ in range(400):
        arms, cluster_R = drawn_arms(rng, 600), np.repeat(np.arange(60), 10)
        point_R = points(rng.random(60)[cluster_R] + 1e-9 * rng.random(600))
        times_BU = np.array([np.bincount(rng.integers(0, 60, 60), minlength=60)
                             for _ in range(100)], dtype=float)  # fmt: skip
        found = interval(0.0, qinis(resampled(arms, point_R, cluster_R, times_BU)), 0.05)
        covered.append(found["low"] < 0 < found["high"])
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)
