"""Which part of the log a verdict rests on: what is judged, and what may be learnt before it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
from ibis import Table

from tessera.contracts.tables import UNEXPLORED
from tessera.offpolicy.requests import Requests
from tessera.shared.features.attribution import tally
from tessera.stages.ope import exposures as served


@dataclass(frozen=True, slots=True)
class Reading:
    """The log on either side of the cut."""

    log: Requests
    """Requests after the cut whose answers are all in."""
    past: Table
    """Attributed exposures whose answers were in before the cut."""
    counts: dict[str, int]
    """Rows of the log and what was left out of it."""


def read_case_log(
    exposures: Table,
    outcomes: Table,
    users: Table,
    item_ids: pa.Array,
    cut: datetime,
    window_days: float,
) -> Reading:
    """Read the requests to be judged, and set apart what was answered before them.

    Parameters
    ----------
    exposures, outcomes, users : Table
        As in the contracts.
    item_ids : array
        Known items.
    cut : datetime
        Only requests after it are judged.
    window_days : float
        Length of the attribution window in days.
    """
    seen = served.attributed(exposures, outcomes, users, window_days)
    window = timedelta(days=window_days)
    # Younger requests may still be answered: to count them as unanswered would favour quick clicks.
    ripe = seen.event_ts <= exposures.event_ts.max().as_scalar() - window
    fresh = seen.filter((seen.event_ts > cut) & ripe)
    # Decided before the draw, so leaving them out is no choice by outcome.
    is_spent = fresh.policy_id.endswith(UNEXPLORED)
    counts = tally(exposures, outcomes, window_days)
    log = served.with_outcomes(served.requests(fresh.filter(~is_spent), item_ids), counts)
    unexplored = int(fresh.filter(is_spent).request_id.nunique().to_pyarrow().as_py())
    # What was shown in the last window before the cut is answered after it.
    past = seen.filter(seen.event_ts <= cut - window)
    return Reading(log, past, {**counts, "requests_unexplored": unexplored})
