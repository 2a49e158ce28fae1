"""Where the lift comes from: by risk class, by how well an investor is known, by time.

Slices decide nothing.  A dozen looks at one log find a few "significant" slices by chance alone,
and none of these bounds is corrected for that: they are here to be understood, not acted upon.

Shapes: N requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from tessera.contracts import arrays
from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.offpolicy.bounds import skew_corrected
from tessera.offpolicy.requests import Requests
from tessera.shared.policies.suitability import UNKNOWN

MIN_USERS = 50
"""A slice of fewer users is shown without bounds: its bounds need many clusters."""
_EARLIER = (("first request", 0, 1), ("second to tenth request", 1, 10),
            ("later requests", 10, None))  # fmt: skip
_UNITS = (("week of", "W"), ("month", "M"), ("quarter", "Q"), ("year", "Y"))
_MOST_PERIODS = 4
_MONDAY = 3
"""Days from a Monday to the Thursday of 1970-01-01."""


def slices(log: Requests, lift_N: Float64s, alpha: float) -> dict[str, Any]:
    """Average the lift within slices that were settled before each request was answered.

    Parameters
    ----------
    log : Requests
        Requests in time order.
    lift_N : array
        Paired doubly robust score, candidate minus champion.
    alpha : float
        Error rate of each bound; they are one-sided, clustered by user and not corrected.

    Returns
    -------
    dict
        Section `slices` of verdict.json: the time span of the requests, the least number of users
        for bounds, and one row a slice; its bounds are null where it has too few.
    """
    rows = [
        {"by": by, "name": name, **_row(log.user_N[mine_N], lift_N[mine_N], alpha)}
        for by, name, mine_N in _parts(log)
    ]
    return {
        "first": _moment(log.event_us_N[0]),
        "last": _moment(log.event_us_N[-1]),
        "min_users": MIN_USERS,
        "rows": rows,
    }


def _row(user_N: Ints, lift_N: Float64s, alpha: float) -> dict[str, Any]:
    users, cluster_N = np.unique(user_N, return_inverse=True)
    found = skew_corrected(lift_N, cluster_N, alpha)
    enough = len(users) >= MIN_USERS
    return {
        "n_requests": len(lift_N),
        "n_users": len(users),
        "mean": found.mean,
        "lower": found.lower if enough else None,
        "upper": found.upper if enough else None,
    }


def _parts(log: Requests) -> Iterator[tuple[str, str, Bools]]:
    """Yield every slice that has requests: what it is by, its name, its requests."""
    for risk in np.unique(log.risk_N):
        name = "unknown" if risk == UNKNOWN else str(risk)
        yield "risk class", name, log.risk_N == risk
    before_N = earlier(log.user_N)
    for name, least, below in _EARLIER:
        mine_N = (before_N >= least) & (below is None or before_N < below)
        if mine_N.any():
            yield "request of the investor after the cut", name, mine_N
    word, period_N = periods(log.event_us_N)
    for period in np.unique(period_N):
        yield "time", f"{word} {period}", period_N == period


def earlier(user_N: Ints) -> Ints:
    """Count the earlier requests of the same user; requests stand in time order."""
    arrays.check(user_N=user_N)
    arrays.whole(user_N=user_N)
    order_N = np.argsort(user_N, kind="stable")
    sorted_N = user_N[order_N]
    first_N = np.concatenate([[True], sorted_N[1:] != sorted_N[:-1]])
    at_N = np.arange(len(user_N))
    rank_N = np.empty_like(user_N)
    rank_N[order_N] = at_N - np.maximum.accumulate(np.where(first_N, at_N, 0))
    return rank_N


def periods(event_us_N: Ints) -> tuple[str, npt.NDArray[np.str_]]:
    """Cut time (microseconds since 1970, UTC) into the shortest unit that gives a few periods.

    Returns
    -------
    word : str
        What one period is.
    array N of str
        Name of the period of each request; names sort in time order.
    """
    arrays.check(event_us_N=event_us_N)
    arrays.whole(event_us_N=event_us_N)
    cuts = [(word, _named(event_us_N, unit)) for word, unit in _UNITS]
    return next((cut for cut in cuts if len(np.unique(cut[1])) <= _MOST_PERIODS), cuts[-1])


def _named(event_us_N: Ints, unit: str) -> npt.NDArray[np.str_]:
    if unit == "W":
        day_N = event_us_N // DAY_US
        monday_N = day_N - (day_N + _MONDAY) % 7
        return np.datetime_as_string(monday_N.astype("datetime64[D]"))
    if unit == "Q":
        month_N = event_us_N.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
        return np.array([f"{1970 + m // 12} Q{m % 12 // 3 + 1}" for m in month_N])
    return np.datetime_as_string(event_us_N.astype("datetime64[us]").astype(f"datetime64[{unit}]"))


def _moment(us: int) -> str:
    return datetime.fromtimestamp(int(us) / 1e6, UTC).isoformat(timespec="seconds")
