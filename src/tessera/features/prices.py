"""Price features as of a day, the same for training and for serving, so that they never skew.

A close counts only from the day after it was made: on the day itself nobody knows it yet.  A
feature without a close young enough is NaN and its missing flag is 1, never filled in.
Shapes: P closes, sorted by item number, then day, one an item and day; Q queries; F features.
Days are counted from 1970-01-01.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_AGE_DAYS = 30
"""A close older than this says nothing about today."""
LOOKBACK_DAYS = (30, 90)
"""Returns are taken over these spans."""
NAMES = (*(f"return_{days}d" for days in LOOKBACK_DAYS), "price_age_days", "price_missing")
"""Columns of `price_features`."""
_DAY_BITS = 20


@dataclass(frozen=True)
class PriceHistory:
    """Closing prices, sorted by item number, then day; what follows from them is built once."""

    item_P: Ints
    day_P: Ints
    close_P: Floats

    @cached_property
    def key_P(self) -> Ints:
        """Item and day as one number, ascending."""
        return np.asarray((self.item_P << _DAY_BITS) + self.day_P)

    @cached_property
    def sums_P1(self) -> tuple[Floats, Floats]:
        """Sums of the log returns, and of their squares, before each close.

        The step onto an item's first close belongs to no item: leave it out of a stretch.
        """
        step_P = np.diff(np.log(self.close_P), prepend=0.0)
        total, square = (np.concatenate([[0.0], np.cumsum(x)]) for x in (step_P, step_P**2))
        return total, square


def _last_before(history: PriceHistory, item_Q: Ints, day_Q: Ints) -> tuple[Ints, Ints]:
    """Return position and age in days of the last close before each day; age -1 if none."""
    key_P = history.key_P
    position_Q = np.searchsorted(key_P, (item_Q << _DAY_BITS) + day_Q, side="left") - 1
    if len(key_P) == 0:
        return position_Q, np.full(len(item_Q), -1)
    found_Q = (position_Q >= 0) & (history.item_P[position_Q] == item_Q)
    return position_Q, np.where(found_Q, day_Q - history.day_P[position_Q], -1)


def close_before(
    history: PriceHistory, item_Q: Ints, day_Q: Ints, *, max_age_days: int = MAX_AGE_DAYS
) -> Floats:
    """Close of each item as known on each day; NaN if none or older than `max_age_days`.

    >>> history = PriceHistory(np.array([0, 0]), np.array([10, 20]), np.array([5.0, 6.0]))
    >>> close_before(history, np.array([0, 0, 0, 1]), np.array([20, 21, 99, 21]))
    array([ 5.,  6., nan, nan])
    """
    position_Q, age_Q = _last_before(history, item_Q, day_Q)
    fresh_Q = (age_Q >= 0) & (age_Q <= max_age_days)
    close_Q = np.full(len(item_Q), np.nan)
    close_Q[fresh_Q] = history.close_P[position_Q[fresh_Q]]
    return close_Q


def price_features(history: PriceHistory, item_Q: Ints, day_Q: Ints) -> Floats:
    """Compute the columns `NAMES` for each (item, day) pair.

    Parameters
    ----------
    history : PriceHistory
        All closes at hand; later ones are not read.
    item_Q, day_Q : Ints
        Item number and day of each query.

    Returns
    -------
    Floats
        QF: log returns (NaN if either close is missing), age of the last close in days (NaN if
        none is young enough), and 1 where that close is missing.
    """
    now_Q = close_before(history, item_Q, day_Q)
    columns = [
        np.log(now_Q / close_before(history, item_Q, day_Q - days)) for days in LOOKBACK_DAYS
    ]
    missing_Q = np.isnan(now_Q)
    age_Q = np.where(missing_Q, np.nan, _last_before(history, item_Q, day_Q)[1])
    return np.column_stack([*columns, age_Q, missing_Q.astype(np.float64)])


def volatility(
    history: PriceHistory, item_Q: Ints, day_Q: Ints, *, days: int = LOOKBACK_DAYS[-1]
) -> Floats:
    """Return the standard deviation of log returns, close to close, in so many days before each.

    NaN where fewer than three closes are known, or the last is older than `MAX_AGE_DAYS`.

    >>> history = PriceHistory(np.zeros(4, int), np.arange(4), np.exp([0.0, 1.0, 0.0, 1.0]))
    >>> volatility(history, np.array([0, 0]), np.array([3, 1])).round(6)
    array([ 1., nan])
    """
    total_P1, square_P1 = history.sums_P1
    last_Q, age_Q = _last_before(history, item_Q, day_Q)
    first_Q = np.searchsorted(history.key_P, (item_Q << _DAY_BITS) + np.maximum(day_Q - days, 0))
    steps_Q = last_Q - first_Q
    known_Q = (age_Q >= 0) & (age_Q <= MAX_AGE_DAYS) & (steps_Q >= 2)
    stop_Q, start_Q = np.where(known_Q, last_Q + 1, 0), np.where(known_Q, first_Q + 1, 0)
    count_Q = np.maximum(steps_Q, 1)
    mean_Q = (total_P1[stop_Q] - total_P1[start_Q]) / count_Q
    spread_Q = (square_P1[stop_Q] - square_P1[start_Q]) / count_Q - mean_Q**2
    return np.where(known_Q, np.sqrt(np.maximum(spread_Q, 0.0)), np.nan)
