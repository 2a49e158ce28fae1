"""What the recommended assets earned: monthly return of a list, of the market, and bad prices.

Shapes: P closes, sorted by item, then day; I items; N investors; K positions.  Days are counted
from 1970-01-01.  Source: FAR-Trans (arXiv 2407.08692), ROI@k.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tessera.contracts import arrays
from tessera.contracts.arrays import Bools, Float64s, Ints

SLACK_DAYS = 15
"""How far from either end of the period a close may lie, as thin assets have sparse closes."""
_MONTH_DAYS = 30
_DAY_BITS = 20


@dataclass(frozen=True, slots=True)
class Closes:
    """Closing prices, sorted by item number, then day, one an item and day."""

    item_P: Ints
    day_P: Ints
    close_P: Float64s

    def __post_init__(self) -> None:
        """Refuse other shapes than the names say, what is no price, and rows out of order.

        Raises
        ------
        ValueError
            Naming the first array that is wrong.
        """
        numbers = {"item_P": self.item_P, "day_P": self.day_P}
        arrays.check(**numbers, close_P=self.close_P)
        arrays.whole(**numbers)
        if self.item_P.min(initial=0) < 0:
            raise ValueError(f"item_P names item {self.item_P.min()}: number them from 0")
        if np.abs(self.day_P).max(initial=0) >> (_DAY_BITS - 1):
            raise ValueError(f"day_P holds {self.day_P.max()}: count days since 1970, not seconds")
        if len(self.close_P) and self.close_P.min() <= 0:
            raise ValueError("close_P must be positive: a return is a ratio of two prices")
        if (np.diff(self.key_P) <= 0).any():
            raise ValueError("item_P and day_P must ascend: sort them, keep one close a day")

    @property
    def key_P(self) -> Ints:
        """Item and day in one ascending number."""
        return (self.item_P << _DAY_BITS) + self.day_P


def _between(closes: Closes, items: int, first_day: int, last_day: int) -> tuple[Ints, Ints]:
    """Return the range of each item's closes with first_day <= day <= last_day; empty if equal."""
    base_I = np.arange(items) << _DAY_BITS
    key_P = closes.key_P
    return (
        np.searchsorted(key_P, base_I + first_day, side="left"),
        np.searchsorted(key_P, base_I + last_day, side="right"),
    )


def priced_at_both_ends(closes: Closes, items: int, start_day: int, end_day: int) -> Bools:
    """Tell which items have a close within 15 days of both ends, on either side of each."""
    near_I = np.ones(items, dtype=np.bool_)
    for day in (start_day, end_day):
        low_I, high_I = _between(closes, items, day - SLACK_DAYS, day + SLACK_DAYS)
        near_I &= high_I > low_I
    return near_I


def period_return(closes: Closes, items: int, start_day: int, end_day: int) -> Float64s:
    """Return of each item over the period, NaN where a close is missing.

    From the first close in (start - 15 d, start + 15 d] to the last in (end - 15 d, end]: nothing
    after the end is read.

    >>> closes = Closes(np.array([0, 0]), np.array([100, 280]), np.array([10.0, 12.0]))
    >>> period_return(closes, 2, 100, 283).round(6)
    array([0.2, nan])
    """
    first_I, first_end_I = _between(
        closes, items, start_day - SLACK_DAYS + 1, start_day + SLACK_DAYS
    )
    last_start_I, last_I = _between(closes, items, end_day - SLACK_DAYS + 1, end_day)
    found_I = (first_end_I > first_I) & (last_I > last_start_I)
    return_I = np.full(items, np.nan)
    start_I, end_I = closes.close_P[first_I[found_I]], closes.close_P[last_I[found_I] - 1]
    return_I[found_I] = end_I / start_I - 1.0
    return return_I


def monthly(total_N: Float64s, days: int) -> Float64s:
    """Turn a return over `days` into the return a month of 30 days that compounds to it.

    >>> monthly(np.array([0.21]), 60)
    array([0.1])
    """
    _check_returns(days, total_N=total_N)
    return _monthly(total_N, days)


def _monthly(total: Float64s, days: int) -> Float64s:
    return np.asarray((1.0 + total) ** (_MONTH_DAYS / days) - 1.0)


def _check_returns(days: int, **returns: Float64s) -> None:
    """Refuse what is no return over so many days; NaN is one that nobody knows."""
    arrays.finite(**returns)
    if days < 1:
        raise ValueError(f"days is {days}: a return takes a day at least")
    for name, total in returns.items():
        if (total < -1.0).any():
            raise ValueError(f"{name} holds {np.nanmin(total)}: nothing loses more than all of it")


def _check_lists(top_NK: Ints, return_I: Float64s, days: int) -> None:
    _check_returns(days, return_I=return_I)
    arrays.check(top_NK=top_NK)
    arrays.numbered(len(return_I), top_NK=top_NK)
    arrays.distinct(top_NK=top_NK)


def roi(top_NK: Ints, return_I: Float64s, days: int, k: int) -> Float64s:
    """ROI@k: monthly return of the first `k` priced items of each list, equally weighted.

    Items without a price are skipped, as nobody can say what they earned; a list without any
    priced item counts 0.

    Raises
    ------
    ValueError
        If a list names an item twice or none of the returns, or a return is none.
    """
    _check_lists(top_NK, return_I, days)
    if k < 1:
        raise ValueError(f"k is {k}: measure the first item at least")
    listed_NK = np.where(top_NK >= 0, return_I[top_NK], np.nan)
    held_NK = np.isfinite(listed_NK)
    held_NK &= np.cumsum(held_NK, axis=1) <= k
    held_N = np.maximum(held_NK.sum(axis=1), 1)
    return _monthly(np.where(held_NK, listed_NK, 0.0).sum(axis=1) / held_N, days)


def roi_draws(
    top_NK: Ints, return_I: Float64s, days: int, draws: int, rng: np.random.Generator
) -> Float64s:
    """Redraw the priced items and average ROI over the lists: what other assets had earned.

    Returns
    -------
    Float64s
        One mean ROI a draw, of the items in the lists as often as they were drawn.

    Raises
    ------
    ValueError
        As `roi`, and if no item has a price or there is no list: nothing could be drawn.
    """
    _check_lists(top_NK, return_I, days)
    priced = np.flatnonzero(np.isfinite(return_I))
    if len(priced) == 0 or len(top_NK) == 0:
        raise ValueError("return_I or top_NK holds nothing to draw: leave the interval out")
    filled_I = np.append(np.where(np.isfinite(return_I), return_I, 0.0), 0.0)
    means = np.empty(draws)
    for draw in range(draws):
        drawn = rng.integers(0, len(priced), len(priced))
        times_I = np.bincount(priced[drawn], minlength=len(filled_I)).astype(np.float64)
        # Number -1, an empty place, reads the appended item, which is never drawn.
        times_N = times_I[top_NK].sum(axis=1)
        earned_N = (times_I * filled_I)[top_NK].sum(axis=1)
        means[draw] = _monthly(earned_N / np.maximum(times_N, 1.0), days).mean()
    return means


def market_roi(return_I: Float64s, days: int) -> float:
    """Monthly return of all priced items, equally weighted; 0 if there are none."""
    _check_returns(days, return_I=return_I)
    priced_I = return_I[np.isfinite(return_I)]
    return float(_monthly(priced_I.mean(), days)) if len(priced_I) else 0.0


def suspicious_items(closes: Closes, *, move: float = 0.5, days: int = 10) -> Ints:
    """Items with a move over `move` within `days` days: possibly a split, not a return.

    >>> closes = Closes(np.array([3, 3, 4, 4]), np.array([1, 9, 1, 12]), np.array([9.0, 4, 9, 4]))
    >>> suspicious_items(closes)
    array([3])
    """
    if days < 1 or move <= 0:
        raise ValueError(f"days is {days} and move {move}: both must be above 0")
    flagged: list[Ints] = []
    for lag in range(1, days + 1):
        near = (closes.item_P[lag:] == closes.item_P[:-lag]) & (
            closes.day_P[lag:] - closes.day_P[:-lag] <= days
        )
        if not near.any():
            break
        jump = np.abs(closes.close_P[lag:] / closes.close_P[:-lag] - 1.0) > move
        flagged.append(closes.item_P[lag:][near & jump])
    return np.unique(np.concatenate(flagged)) if flagged else np.empty(0, dtype=np.int64)
