"""Price features as of a day, the same for training and for serving, so that they never skew.

A close counts only from the day after it was made: on the day itself nobody knows it yet.  A
feature without a close young enough is NaN and its missing flag is 1, never filled in.
Shapes: P closes, sorted by item number, then day, one an item and day; Q queries, K of them with a
volatility; F features.
Days are counted from 1970-01-01.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tessera.contracts.arrays import Float64s, Ints

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
    close_P: Float64s

    @cached_property
    def key_P(self) -> Ints:
        """Item and day as one number, ascending."""
        return np.asarray((self.item_P << _DAY_BITS) + self.day_P)

    @cached_property
    def sums_P(self) -> tuple[Float64s, Float64s]:
        """Sums of an item's log returns, and of their squares, up to each close.

        Item by item, 0 at its first close: one sum over all closes would let the later ones of an
        item round those of the next.

        >>> closes = PriceHistory(np.array([0, 0, 1, 1]), np.arange(4), np.exp([0.0, 2, 5, 2]))
        >>> closes.sums_P
        (array([ 0.,  2.,  0., -3.]), array([0., 4., 0., 9.]))
        """
        log_P, first = np.log(self.close_P), np.flatnonzero(np.diff(self.item_P, prepend=-1))
        total_P, square_P = np.zeros_like(log_P), np.zeros_like(log_P)
        length = np.diff(first, append=len(log_P))
        longest = np.argsort(-length, kind="stable")
        shorter = -length[longest]
        # The n-th close of all items at once, so that many items cost no more than many closes.
        for n in range(1, int(length.max(initial=0))):
            at = first[longest[: np.searchsorted(shorter, -n)]] + n
            step = log_P[at] - log_P[at - 1]
            total_P[at] = total_P[at - 1] + step
            square_P[at] = square_P[at - 1] + step**2
        return total_P, square_P


def _last_before(history: PriceHistory, item_Q: Ints, day_Q: Ints) -> tuple[Ints, Ints]:
    """Return position and age in days of the last close before each day; age -1 if none."""
    key_P = history.key_P
    position_Q = key_P.searchsorted((item_Q << _DAY_BITS) + day_Q) - 1
    if len(key_P) == 0:
        return position_Q, np.full(len(item_Q), -1)
    found_Q = (position_Q >= 0) & (history.item_P[position_Q] == item_Q)
    return position_Q, np.where(found_Q, day_Q - history.day_P[position_Q], -1)


def _close(
    history: PriceHistory, last: tuple[Ints, Ints], max_age_days: int = MAX_AGE_DAYS
) -> Float64s:
    position_Q, age_Q = last
    fresh_Q = (age_Q >= 0) & (age_Q <= max_age_days)
    close_Q = np.full(len(age_Q), np.nan)
    close_Q[fresh_Q] = history.close_P[position_Q[fresh_Q]]
    return close_Q


def close_before(
    history: PriceHistory, item_Q: Ints, day_Q: Ints, *, max_age_days: int = MAX_AGE_DAYS
) -> Float64s:
    """Close of each item as known on each day; NaN if none or older than `max_age_days`.

    >>> history = PriceHistory(np.array([0, 0]), np.array([10, 20]), np.array([5.0, 6.0]))
    >>> close_before(history, np.array([0, 0, 0, 1]), np.array([20, 21, 99, 21]))
    array([ 5.,  6., nan, nan])
    """
    return _close(history, _last_before(history, item_Q, day_Q), max_age_days)


def price_features(history: PriceHistory, item_Q: Ints, day_Q: Ints) -> Float64s:
    """Compute the columns `NAMES` for each (item, day) pair.

    Parameters
    ----------
    history : PriceHistory
        All closes at hand; later ones are not read.
    item_Q, day_Q : Ints
        Item number and day of each query.

    Returns
    -------
    Float64s
        QF: log returns (NaN if either close is missing), age of the last close in days (NaN if
        none is young enough), and 1 where that close is missing.
    """
    last = _last_before(history, item_Q, day_Q)
    now_Q = _close(history, last)
    columns = [
        np.log(now_Q / close_before(history, item_Q, day_Q - days)) for days in LOOKBACK_DAYS
    ]
    missing_Q = np.isnan(now_Q)
    age_Q = np.where(missing_Q, np.nan, last[1])
    return np.column_stack([*columns, age_Q, missing_Q.astype(np.float64)])


def volatility(
    history: PriceHistory, item_Q: Ints, day_Q: Ints, *, days: int = LOOKBACK_DAYS[-1]
) -> Float64s:
    """Return the standard deviation of log returns, close to close, in so many days before each.

    NaN where fewer than three closes are known, or the last is older than `MAX_AGE_DAYS`.

    >>> history = PriceHistory(np.zeros(4, int), np.arange(4), np.exp([0.0, 1.0, 0.0, 1.0]))
    >>> volatility(history, np.array([0, 0]), np.array([3, 1])).round(6)
    array([ 1., nan])
    """
    total_P, square_P = history.sums_P
    last_Q, age_Q = _last_before(history, item_Q, day_Q)
    first_Q = history.key_P.searchsorted((item_Q << _DAY_BITS) + np.maximum(day_Q - days, 0))
    steps_Q = last_Q - first_Q
    known_Q = (age_Q >= 0) & (age_Q <= MAX_AGE_DAYS) & (steps_Q >= 2)
    found_Q = np.full(len(item_Q), np.nan)
    last_K, first_K, count_K = last_Q[known_Q], first_Q[known_Q], steps_Q[known_Q]
    mean_K = (total_P[last_K] - total_P[first_K]) / count_K
    spread_K = (square_P[last_K] - square_P[first_K]) / count_K - mean_K**2
    found_Q[known_Q] = np.sqrt(np.maximum(spread_K, 0.0))
    return found_Q
