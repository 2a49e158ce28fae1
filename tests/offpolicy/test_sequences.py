"""Bounds of a running mean at every look: by hand, their promise, and what drift does to others."""

import math

import numpy as np
import pytest

from tessera.offpolicy.bounds import normal
from tessera.offpolicy.sequences import (
    Wager,
    asymptotic_upper,
    betting_lower,
    betting_path,
    log_wealth,
    stakes,
)

LOOKS = np.arange(200, 2001, 200)


def test_wealth_is_the_mean_over_stakes_of_products():
    value_N, mean = np.array([1.0, -1.0, 2.0]), 0.05
    wagers = [Wager(value_N, 1.0), Wager(value_N / 2, 0.5)]
    wealth = [
        math.prod(1 + stake * (value - mean) for value in wager.score_N)
        for wager in wagers
        for stake in (0.9 / wager.floor / 2**j for j in range(6))
    ]
    found = log_wealth(wagers, mean)
    assert found == pytest.approx(math.log(sum(wealth) / 12), abs=1e-12)


def test_a_score_that_is_wider_than_needed_costs_a_share_of_the_wealth_and_no_more(rng):
    score_N = rng.normal(0.1, 0.3, 2000).clip(-1)
    alone = log_wealth([Wager(score_N, 1.0)], 0.0)
    shared = log_wealth([Wager(score_N, 1.0), Wager(score_N - 0.5, 50.0)], 0.0)
    assert alone - math.log(2) <= shared < alone


def test_a_stake_that_could_lose_more_than_all_against_a_claim_counts_as_lost():
    never = Wager(np.full(50, 5.0), 1.0)  # even where it has won every time
    others = [math.prod([1 + 0.9 / 2**j * 4.8] * 50) for j in range(1, 6)]
    assert log_wealth([never], 0.2) == pytest.approx(math.log(sum(others) / 6))
    path = [log_wealth([never], mean) for mean in np.linspace(-1, 4, 200)]
    assert path == sorted(path, reverse=True)


def test_a_score_below_its_floor_by_rounding_loses_a_stake_and_gives_a_bound():
    """The bound lies where the largest stake is lost, and there a wealth was no number."""
    wagers = [Wager(np.full(4, -1.0 - 9e-10), 1.0), Wager(np.full(4, 5.0), 1.0)]
    assert betting_lower(wagers, 1.0, 0.05) == pytest.approx(1 / 9, abs=1e-8)


def test_no_stake_can_lose_all_on_one_unit():
    assert (stakes(10.0) * 10.0 <= 0.9 + 1e-12).all()


def test_the_bound_is_where_the_wealth_reaches_one_over_alpha(rng):
    value_N = rng.normal(0.1, 0.3, 5000).clip(-1)
    lower = betting_lower([Wager(value_N, 1.0)], 1.0, 0.05)
    assert log_wealth([Wager(value_N, 1.0)], lower) == pytest.approx(math.log(20), abs=1e-4)
    assert 0.07 < lower < value_N.mean()


def test_it_rises_with_alpha_so_that_levels_are_nested(rng):
    value_N = np.concatenate([-np.ones(40), np.ones(260)])
    found = [betting_lower([Wager(value_N, 1.0)], 1.0, alpha) for alpha in (0.001, 0.01, 0.05, 0.2)]
    assert found == sorted(found)


def test_nothing_known_is_the_floor_and_nothing_moved_is_no_lift():
    for nothing in (np.array([]), np.array([0.5])):
        assert betting_lower([Wager(nothing, 2.0)], 1.0, 0.05) == -1.0
    assert -0.05 < betting_lower([Wager(np.zeros(5000), 2.0)], 1.0, 0.05) < 0


def test_values_below_the_floor_are_refused():
    with pytest.raises(ValueError, match="lies below"):
        betting_lower([Wager(np.array([0.0, -1.5]), 1.0)], 1.0, 0.05)


def skewed(rng, shape, mean):
    """Mostly a small gain, now and then a fall to the floor: the hardest null for the bettor."""
    return np.where(rng.random(shape) < 0.1, -1.0, 1.0 / 9) + mean


@pytest.mark.parametrize(
    "draw", [skewed, lambda rng, shape, mean: rng.normal(mean, 0.5, shape).clip(-1)]
)
def test_it_is_above_the_mean_at_any_look_no_more_often_than_alpha(draw):
    rng = np.random.default_rng(1)
    needed = math.log(1 / 0.1)
    crossed = np.mean([
        any(log_wealth([Wager(value_N[:n], 1.0)], 0.0) > needed for n in LOOKS)
        for value_N in draw(rng, (400, 2000), 0.0)
    ])  # fmt: skip
    assert crossed <= 0.1


def drifting(n):
    """A lift that was there and is gone: its mean over all is below 0."""
    return np.where(np.arange(n) < n // 2, 0.15, -0.16)


def test_under_drift_it_bounds_the_mean_over_the_units_seen():
    rng = np.random.default_rng(2)
    lift_N, looks_T = drifting(2000), LOOKS[::3]
    mean_T = np.cumsum(lift_N)[looks_T - 1] / looks_T
    above = 0
    for _ in range(150):
        value_N = (lift_N + rng.normal(0, 0.5, 2000)).clip(-2)
        path_T = betting_path([Wager(value_N, 2.0)], 1.0, 0.1, looks_T)
        above += bool((path_T > mean_T + 0.002).any())  # what clipping adds is below .002
        assert path_T.max() > 0, "the lift that was there is seen while it is"
        assert path_T[-1] < 0, "and forgotten when it is gone"
    assert above <= 0.1 * 150


def test_the_order_of_the_units_changes_nothing(rng):
    value_N = rng.exponential(size=500) - 1
    once, again = (betting_lower([Wager(v_N, 1.0)], 1.0, 0.05) for v_N in (value_N, value_N[::-1]))
    assert once == pytest.approx(again, abs=1e-8)


def test_the_asymptotic_sequence_equals_its_formula(rng):
    value_N, alpha, planned = rng.normal(0.2, 1.0, 300), 0.03, 20_000
    surprise = -2 * math.log(2 * alpha)
    r2 = (surprise + math.log(surprise + 1)) / planned / value_N.var()
    s2 = value_N.var()
    reach = 2 * (300 * s2 * r2 + 1) / (300**2 * r2)
    reach *= math.log(1 + math.sqrt(300 * s2 * r2 + 1) / (2 * alpha))
    found = asymptotic_upper(value_N, alpha, np.array([300]))[0]
    assert found == pytest.approx(value_N.mean() + math.sqrt(reach), abs=1e-9)


def test_the_asymptotic_sequence_is_below_the_mean_at_any_look_no_more_often_than_alpha():
    rng = np.random.default_rng(4)
    crossed = wider = 0
    for _ in range(400):
        value_N = rng.exponential(size=4000) - 1
        upper_T = asymptotic_upper(value_N, 0.1, np.arange(500, 4001, 50))
        crossed += bool((upper_T < 0).any())
        wider += any(normal(value_N[:n], 0.1).upper < 0 for n in range(500, 4001, 50))
    assert crossed <= 0.1 * 400
    assert wider > 1.5 * 0.1 * 400, "a fixed-n bound is not for many looks"
