"""What must hold beside the sequence: other investors, and of late."""

import numpy as np
import pytest

from tessera.contracts.arrow import DAY_US
from tessera.offpolicy.sequences import Wager
from tessera.stages.ope.conditions import (
    MONTH_LEVEL,
    Scored,
    conditions,
    latest,
    look_share,
    lower_bounds,
    periods,
    sequence_level,
    upper_path,
)


def scored(score_N, users=400, days=120, look=1, seed=0):
    n = len(score_N)
    user_N = np.random.default_rng(seed).integers(0, users, n)
    wagers = (Wager(score_N, 3.0),)
    return Scored(wagers, score_N, 1.0, user_N, np.arange(n) * days * DAY_US // n, look)


def test_the_error_rate_is_divided_and_never_exceeded():
    level = 0.03
    looks = sum(look_share(level, look) for look in range(1, 5000))
    assert sequence_level(level) + looks == pytest.approx(level, rel=1e-3)
    assert sequence_level(level) + looks < level
    assert look_share(level, 1) > look_share(level, 2) > look_share(level, 20)


def test_the_latest_parts_are_a_third_of_the_requests_and_thirty_days():
    event_us_N = np.arange(90) * DAY_US
    recent = dict(latest(event_us_N))
    assert np.flatnonzero(recent["last third"]).tolist() == list(range(60, 90))
    assert recent["last 30 days"].sum() == 30
    assert dict(latest(event_us_N[:1]))["last 30 days"].tolist() == [True]


def test_a_steady_lift_holds_everywhere(rng):
    found = lower_bounds(scored(0.1 + 0.3 * rng.normal(size=6000).clip(-3, 3)), 0.03)
    assert found.hold(0.0)
    assert found.sequence < found.investors < 0.1


def test_a_lift_that_is_gone_is_called_fading(rng):
    lift_N = np.where(np.arange(6000) < 4000, 0.2, 0.0)
    given = scored((lift_N + 0.3 * rng.normal(size=6000)).clip(-3))
    found = lower_bounds(given, 0.03)
    assert found.sequence > 0 < found.investors, "the mean over all is well above 0"
    assert not found.hold(0.0)
    failing = [check for check in conditions(given, 0.03, 0.0) if not check.ok]
    assert [check.name for check in failing] == ["last_third_lower", "last_month_lower"]
    assert all(check.says.startswith("fading") for check in failing)


def test_a_lift_of_few_investors_is_not_one_for_others():
    """Three of 40 investors gain much, the others lose a little: requests alone cannot tell."""
    rng = np.random.default_rng(5)
    user_N = rng.integers(0, 40, 20_000)
    lift_N = np.where(user_N < 3, 1.0, -0.04)
    score_N = (lift_N + 0.2 * rng.normal(size=20_000)).clip(-3)
    wagers = (Wager(score_N, 3.0),)
    given = Scored(wagers, score_N, 1.0, user_N, np.arange(20_000) * DAY_US // 100)
    found = lower_bounds(given, 0.03)
    assert found.sequence > 0.02
    assert found.investors < 0
    assert not found.hold(0.0)


def test_one_investor_says_nothing_of_others(rng):
    found = lower_bounds(scored(0.1 + 0.01 * rng.normal(size=500), users=1), 0.03)
    assert found.investors == found.last_third == -np.inf
    assert not found.hold(-1e9)


def test_a_margin_is_taken_off_each_condition(rng):
    given = scored((-0.01 + 0.1 * rng.normal(size=6000)).clip(-3))
    assert not any(check.ok for check in conditions(given, 0.03, 0.0))
    assert all(check.ok for check in conditions(given, 0.03, 0.05))


def test_a_later_look_is_held_to_less(rng):
    score_N = (0.05 + 0.4 * rng.normal(size=4000)).clip(-3)
    first, later = (lower_bounds(scored(score_N, look=look), 0.03) for look in (1, 10))
    assert later.investors < first.investors
    assert later.last_third < first.last_third
    assert (later.sequence, later.last_month) == (first.sequence, first.last_month)


def test_periods_tell_every_request_once_and_the_levels_they_are_held_to(rng):
    rows = {row["name"]: row for row in periods(scored(rng.normal(size=601).clip(-3)), 0.03)}
    thirds = [rows[f"{name} third"]["n_requests"] for name in ("first", "second", "last")]
    assert thirds == [200, 201, 200]
    assert rows["all"]["n_requests"] == 601
    assert rows["last 30 days"]["level"] == MONTH_LEVEL
    assert rows["last third"]["level"] == look_share(0.03, 1)


def test_few_requests_have_no_upper_bound_but_the_largest_lift_there_can_be():
    """An asymptotic bound of one request is that request: it would refuse whoever loses once."""
    loses_N = np.full(600, -0.5)
    upper_T = upper_path(loses_N, 0.05, np.array([1, 499, 500, 600]), 3.0)
    assert upper_T[:2].tolist() == [3.0, 3.0]
    assert (upper_T[2:] < 0).all()
