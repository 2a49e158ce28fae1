"""Some visits begin with a search: what was asked, what was found, and what of it was clicked.

    click of a found item = sigmoid(bias + a + 2.5 (it serves the purpose)), a as in `behaviour`

A search shows no slate of the logging policy: its clicks come of no request, no propensity is known
of what it found, and nothing else that investors do depends on it.

Shapes: N visits, Q queries, C found items, M clicks, I items, P purposes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tessera.contracts.arrays import Bools, Ints
from tessera.contracts.tables import ACTIONS
from tessera.stages.synth import files
from tessera.stages.synth.behaviour import Market, sigmoid, visits
from tessera.stages.synth.interactions import CLICK, DAY, SECOND
from tessera.stages.synth.log import draw_candidates
from tessera.stages.synth.purposes import EARLY, PHRASINGS, PURPOSES, Wants, draw_wants

_STREAM = 15
"""Number of the stream of chance that says who searches for what."""
_CHUNK = 4_096
LATE = 0.75
"""Share of the log behind which the late phrasings come: past the cut that the market gets by
default."""
_SERVES = 2.5
"""What serving the purpose adds to the logit of a click; ours."""
_WAIT_S = 600
"""Within so many seconds a found item is clicked; ours."""
TRUTH = pa.schema([
    ("query_id", pa.string()), ("purpose", pa.string()), ("phrasing", pa.int64()),
    ("found_ids", pa.list_(pa.string())), ("clicked", pa.list_(pa.bool_())),
])  # fmt: skip
"""What is true of a query: its purpose, the number of its phrasing, and all that it found."""


@dataclass(frozen=True, slots=True)
class Searches:
    """A run of queries in order of time, and what came of each."""

    first: int
    """Number of the first query."""
    user_Q: Ints
    at_us_Q: Ints
    purpose_Q: Ints
    phrasing_Q: Ints
    item_QC: Ints
    click_QC: Bools
    click_us_QC: Ints
    wants: Wants


def draw_searches(market: Market, user_N: Ints, at_us_N: Ints) -> Iterator[Searches]:
    """Draw which visits begin with a search and what comes of it; none if nobody searches."""
    params = market.params
    if params.queries == 0:
        return
    rng = np.random.default_rng((params.seed, _STREAM))
    wants = draw_wants(params)
    searched = np.flatnonzero(rng.random(len(user_N)) < params.queries)
    for first in range(0, len(searched), _CHUNK):
        chosen = searched[first : first + _CHUNK]
        yield _run(market, wants, user_N[chosen], at_us_N[chosen], first, rng)


def _run(
    market: Market, wants: Wants, user_Q: Ints, at_us_Q: Ints, first: int, rng: np.random.Generator
) -> Searches:
    params, size = market.params, len(user_Q)
    late_Q = at_us_Q >= LATE * params.logged_days * DAY
    purpose_Q = rng.integers(0, len(PURPOSES), size)
    phrasing_Q = rng.integers(0, np.where(late_Q, PHRASINGS, EARLY))
    holds_UI = np.broadcast_to(np.float32(0), (params.users, params.items))
    now = visits(market, user_Q, at_us_Q / DAY, holds_UI, int(at_us_Q[0] // DAY))
    item_QC = draw_candidates(now, params.candidates, rng)
    affinity_QC = now.affinity_NI[np.arange(size)[:, None], item_QC].astype(np.float64)
    logit_QC = market.click_bias + params.taste * affinity_QC
    logit_QC += _SERVES * wants.serves_IP[item_QC, purpose_Q[:, None]]
    click_QC = rng.random(item_QC.shape) < sigmoid(logit_QC)
    click_us_QC = at_us_Q[:, None] + rng.integers(1, _WAIT_S, item_QC.shape) * SECOND
    until_QC = np.minimum(market.assets.dead_day_I[item_QC], params.logged_days) * DAY
    click_QC &= click_us_QC < until_QC
    return Searches(first, user_Q, at_us_Q, purpose_Q, phrasing_Q, item_QC, click_QC, click_us_QC,
                    wants)  # fmt: skip


def queries(found: Searches) -> dict[str, pa.Array]:
    """One row a query."""
    said = np.array(found.wants.phrasing_PF, dtype=object)
    return {
        "query_id": _ids(found),
        "user_id": files.user_ids(found.user_Q),
        "event_ts": files.timestamps(found.at_us_Q),
        "text": pa.array(said[found.purpose_Q, found.phrasing_Q], pa.string()),
        "request_id": pa.nulls(len(found.user_Q), pa.string()),
    }


def clicks(found: Searches, first_row: int) -> dict[str, pa.Array]:
    """One row of the table of events a click, in order of time."""
    query_M, column_M = np.nonzero(found.click_QC)
    order_M = np.argsort(found.click_us_QC[query_M, column_M], kind="stable")
    query_M, column_M = query_M[order_M], column_M[order_M]
    size = len(query_M)
    none = pa.nulls(size, pa.float64())
    return {
        "event_id": files.names("e", first_row + np.arange(size), 9),
        "user_id": files.user_ids(found.user_Q[query_M]),
        "item_id": files.item_ids(found.item_QC[query_M, column_M]),
        "action": pa.repeat(ACTIONS[CLICK], size),
        "event_ts": files.timestamps(found.click_us_QC[query_M, column_M]),
        "time_kind": pa.repeat("exact", size),
        "amount_eur": none,
        "units": none,
        "channel": pa.repeat(files.CHANNELS[0], size),
        "request_id": pa.nulls(size, pa.string()),
    }


def answers(found: Searches, items: int) -> dict[str, pa.Array]:
    """Return what is true of the queries, in the columns of `TRUTH`."""
    length = found.item_QC.shape[1]
    ends = pa.array(np.arange(len(found.user_Q) + 1, dtype=np.int32) * length)
    names = pa.array([purpose.name for purpose in PURPOSES])
    found_ids = files.item_ids(np.arange(items)).take(pa.array(found.item_QC.ravel()))
    return {
        "query_id": _ids(found),
        "purpose": names.take(pa.array(found.purpose_Q)),
        "phrasing": pa.array(found.phrasing_Q),
        "found_ids": pa.ListArray.from_arrays(ends, found_ids),
        "clicked": pa.ListArray.from_arrays(ends, pa.array(found.click_QC.ravel())),
    }


def _ids(found: Searches) -> pa.Array:
    return files.names("q", found.first + np.arange(len(found.user_Q)), 8)
