"""Slices: which request falls where, and which slice is too small for bounds."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from tessera.offpolicy.bounds import skew_corrected
from tessera.offpolicy.requests import Requests
from tessera.offpolicy.slices import MIN_USERS, earlier, periods, slices


def log_of(user_N, risk_N, ts_N):
    nothing = np.zeros((len(user_N), 1))
    return Requests(
        request_ids=pa.array([str(n) for n in range(len(user_N))]),
        event_us_N=microseconds(ts_N),
        user_N=user_N,
        user_ids=pa.array([f"u{n}" for n in range(user_N.max() + 1)]),
        risk_N=risk_N,
        capacity_N=risk_N,
        candidate_NC=nothing.astype(np.int64),
        chosen_NL=nothing.astype(np.int64),
        served_NLC=nothing[:, :, None],
        propensity_NL=nothing,
        reward_NL=nothing,
        dismissed_NL=nothing,
    )


def microseconds(ts_N):
    return np.array([int(ts.timestamp() * 1e6) for ts in ts_N])


def days(first, *after):
    return microseconds([first + timedelta(days=n) for n in after])


def test_earlier_counts_only_what_the_same_user_asked_before():
    assert earlier(np.array([3, 1, 3, 3, 1, 0])).tolist() == [0, 0, 1, 2, 1, 0]


def test_a_week_starts_on_monday():
    word, name_N = periods(days(datetime(2024, 12, 29, 23, tzinfo=UTC), 0, 1))
    assert (word, name_N.tolist()) == ("week of", ["2024-12-23", "2024-12-30"])


@pytest.mark.parametrize(
    ("after", "word", "names"),
    [
        ((0, 60), "week of", ["2024-01-01", "2024-02-26"]),
        (range(100), "month", ["2024-01", "2024-02", "2024-03", "2024-04"]),
        (range(0, 360, 10), "quarter", ["2024 Q1", "2024 Q2", "2024 Q3", "2024 Q4"]),
        (range(0, 900, 10), "year", ["2024", "2025", "2026"]),
    ],
)
def test_the_shortest_unit_that_gives_a_few_periods_is_taken(after, word, names):
    found, name_N = periods(days(datetime(2024, 1, 1, tzinfo=UTC), *after))
    assert (found, sorted(set(name_N.tolist()))) == (word, names)


@pytest.fixture
def found(rng):
    """MIN_USERS users of risk class 1 and one fewer of class 2, twelve requests each."""
    users = 2 * MIN_USERS - 1
    user_N = np.tile(np.arange(users), 12)
    risk_N = np.where(user_N < MIN_USERS, 1, 2)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    log = log_of(user_N, risk_N, [start + timedelta(minutes=n) for n in range(len(user_N))])
    lift_N = risk_N * 0.1 + rng.normal(size=len(user_N))
    return log, lift_N, slices(log, lift_N, 0.05)


def test_every_way_of_slicing_holds_every_request_once(found):
    log, _, table = found
    counts = {}
    for row in table["rows"]:
        counts[row["by"]] = counts.get(row["by"], 0) + row["n_requests"]
    assert len(counts) == 3
    assert set(counts.values()) == {len(log)}
    assert len(table["rows"]) <= 12


def test_a_slice_is_the_clustered_mean_of_its_own_requests(found):
    log, lift_N, table = found
    mine_N = log.risk_N == 1
    wanted = skew_corrected(lift_N[mine_N], log.user_N[mine_N], 0.05)
    (row,) = [row for row in table["rows"] if (row["by"], row["name"]) == ("risk class", "1")]
    assert (row["n_requests"], row["n_users"]) == (12 * MIN_USERS, MIN_USERS)
    assert (row["mean"], row["lower"], row["upper"]) == (wanted.mean, wanted.lower, wanted.upper)


def test_a_slice_of_too_few_users_has_no_bounds(found):
    (row,) = [r for r in found[2]["rows"] if (r["by"], r["name"]) == ("risk class", "2")]
    assert row["n_users"] == MIN_USERS - 1
    assert (row["lower"], row["upper"]) == (None, None)
    assert np.isfinite(row["mean"])


def test_the_span_is_that_of_the_requests(found):
    table = found[2]
    assert (table["first"], table["last"]) == (
        "2024-01-01T00:00:00+00:00",
        "2024-01-01T19:47:00+00:00",
    )
