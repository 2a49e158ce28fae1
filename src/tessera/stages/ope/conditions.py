"""What must hold of the lift before anything is promoted: four lower bounds, one error rate.

The sequence bounds the mean lift over the requests seen and holds at every look.  It says nothing
of investors who were not seen, nor of tomorrow, so three fixed-n bounds, clustered by investor
(Hall), must hold beside it: over all requests, over the last third, and over the last 30 days.

A wrong promotion needs a wrong bound.  A quarter of the error rate goes to the sequence, once for
all looks.  The rest is spent look by look, the i-th of this candidate gets 6 / (pi^2 i^2) of it;
within a look the bounds share it whole, since all of them must hold (intersection-union).  The last
30 days are few requests, so their bound is held to `MONTH_LEVEL`, an alarm rather than a proof.

Shapes: N requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.offpolicy.bounds import Interval, skew_corrected
from tessera.offpolicy.holm import share_of
from tessera.offpolicy.sequences import Wager, asymptotic_upper, betting_lower, betting_path
from tessera.stages.ope.verdict import Check

SEQUENCE_SHARE = 0.25
"""Of the error rate; the fixed-n bounds get the rest, look by look."""
MONTH_LEVEL = 0.2
"""Error rate of the bound over the last days."""
LEAST_REQUESTS = 500
"""Requests from which on the asymptotic sequence may speak."""
_LAST_DAYS = 30


@dataclass(frozen=True, slots=True)
class Scored:
    """Paired scores of the requests seen until now, in time order."""

    wagers: tuple[Wager, ...]
    """What the sequence bets on."""
    score_N: Float64s
    """The one of them from which least was paid; what the fixed-n bounds take."""
    most: float
    """Largest lift that there can be."""
    user_N: Ints
    event_us_N: Ints
    look: int = 1
    """Which look at this candidate it is."""


@dataclass(frozen=True, slots=True)
class LowerBounds:
    """Lower bounds of the lift at one look."""

    sequence: float
    """Of the mean over the requests seen, at every look."""
    investors: float
    """Of the mean over investors like those seen."""
    last_third: float
    last_month: float

    def hold(self, needed: float) -> bool:
        """Whether all of them lie above what is needed."""
        return min(self.sequence, self.investors, self.last_third, self.last_month) > needed


def lower_bounds(scored: Scored, level: float) -> LowerBounds:
    """Bound the lift from below so that a promotion is wrong with probability `level` at most."""
    return LowerBounds(sequence_lower(scored, level), *_by_investor(scored, level))


def _by_investor(scored: Scored, level: float) -> tuple[float, float, float]:
    """Return the fixed-n bounds over all requests, the last third and the last 30 days."""
    each = look_share(level, scored.look)
    recent = dict(latest(scored.event_us_N))
    return (
        clustered(scored, np.ones(len(scored.score_N), dtype=bool), each).lower,
        clustered(scored, recent["last third"], each).lower,
        clustered(scored, recent["last 30 days"], MONTH_LEVEL).lower,
    )


def conditions(scored: Scored, level: float, margin: float) -> list[Check]:
    """Lay out the fixed-n bounds that must hold beside the sequence."""
    needed = 0.0 - margin
    investors, last_third, last_month = _by_investor(scored, level)
    told = (
        ("investors_lower", investors, "other investors may gain nothing"),
        ("last_third_lower", last_third,
         "fading: over the last third of the requests it may gain nothing"),
        ("last_month_lower", last_month,
         "fading: over the last 30 days it may gain nothing"),
    )  # fmt: skip
    return [Check(name, value, needed, value > needed, says) for name, value, says in told]


def periods(scored: Scored, level: float) -> list[dict[str, Any]]:
    """Lay out the score by parts of the log in time order, with the bounds of `lower_bounds`."""
    requests = len(scored.score_N)
    third_N = np.repeat([0, 1, 2], [requests // 3, requests - 2 * (requests // 3), requests // 3])
    recent = dict(latest(scored.event_us_N))
    each = look_share(level, scored.look)
    parts = (
        ("first third", third_N == 0, each),
        ("second third", third_N == 1, each),
        ("last third", recent["last third"], each),
        ("last 30 days", recent["last 30 days"], MONTH_LEVEL),
        ("all", third_N >= 0, each),
    )
    return [_period(scored, name, mine_N, alpha) for name, mine_N, alpha in parts]


def _period(scored: Scored, name: str, mine_N: Bools, alpha: float) -> dict[str, Any]:
    found = clustered(scored, mine_N, alpha)
    return {
        "name": name,
        "n_requests": int(mine_N.sum()),
        "n_users": len(np.unique(scored.user_N[mine_N])),
        "mean": found.mean,
        "lower": found.lower,
        "upper": found.upper,
        "level": alpha,
    }


def lower_path(scored: Scored, level: float, at_T: Ints) -> Float64s:
    """Lower bound of the mean over the requests seen, as it stood after so many."""
    return betting_path(scored.wagers, scored.most, sequence_level(level), at_T)


def upper_path(lift_N: Float64s, level: float, at_T: Ints, most: float = np.inf) -> Float64s:
    """Upper bound of the mean over the requests seen, as it stood after so many.

    The asymptotic sequence over the unbiased lift: to reject publishes nothing.  It means nothing
    for few requests, so before `LEAST_REQUESTS` the bound is `most`, the largest lift there can be.
    """
    return np.where(at_T < LEAST_REQUESTS, most, asymptotic_upper(lift_N, level, at_T))


def sequence_level(level: float) -> float:
    """Return the error rate of the sequence."""
    return level * SEQUENCE_SHARE


def look_share(level: float, look: int) -> float:
    """Return the error rate of each fixed-n bound at this look, from 1."""
    return share_of(level * (1 - SEQUENCE_SHARE), look)


def sequence_lower(scored: Scored, level: float) -> float:
    """Bound the mean over the requests seen, at every look."""
    return betting_lower(scored.wagers, scored.most, sequence_level(level))


def latest(event_us_N: Ints) -> Iterator[tuple[str, Bools]]:
    """Yield the latest parts of the log: by number of requests, and by days."""
    requests = len(event_us_N)
    yield "last third", np.arange(requests) >= requests - requests // 3
    yield "last 30 days", event_us_N > event_us_N[-1] - _LAST_DAYS * DAY_US


def clustered(scored: Scored, mine_N: Bools, alpha: float) -> Interval:
    """Bound the mean over some requests by investor; without two investors there is no bound."""
    if not mine_N.any():
        return Interval(0.0, np.inf, -np.inf, np.inf)
    cluster_N = np.unique(scored.user_N[mine_N], return_inverse=True)[1]
    return skew_corrected(scored.score_N[mine_N], cluster_N, alpha)
