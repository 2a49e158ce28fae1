"""What features a stream of events gives, beside those of a batch over the same events.

Usage: python -m benchmarks.stream_features [--events 1000000 5000000]

Events come late, in another order than they happened, and some twice, into the state that a service
keeps.  In between, requests ask for the features of their candidates as a service does; what that
takes of a processor is told for the first and the last fifth of the stream.  When all have come,
the features of other requests are computed from the state, and by the batch from a table of all
events: counts and windowed counts of items, what the investor did last and how often, pairs,
prefixes of codes, and edges.

Shapes: N events, I items, R requests, M candidates of one.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.common import Kept, each, write_result
from benchmarks.memory import alone, memory_mb
from tessera.contracts.arrays import Float32s, Ints
from tessera.contracts.arrow import DAY_US
from tessera.contracts.tables import ACTIONS
from tessera.serve.online.counts import ItemCounts
from tessera.serve.online.investor import ME, NOTHING, facts_of, risk_classes, until
from tessera.serve.online.recent import Recent
from tessera.serve.online.state import OnlineState
from tessera.shared.features.facts import NOBODY, Facts, Trials
from tessera.shared.features.links import EDGE_KINDS
from tessera.shared.features.prices import PriceHistory
from tessera.shared.features.ranking import slate_features

ITEMS, CANDIDATES, ASKED, EACH = 10_000, 200, 500, 1_000
"""Items, candidates of a request, requests that are compared, events between two timed ones."""
DAYS, LATE_S, TWICE = 60, 600.0, 0.01
"""Days that events happen in, mean delay in seconds, share that comes twice."""
GROUPS = ("user", "item", "pair", "graph", "sid")
_BLOCK = 100_000
_INVESTORS = 20
"""Events of one investor, by mean."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Events in the order in which they come; some of them twice."""

    user_N: Ints
    item_N: Ints
    action_N: Ints
    moment_N: Ints
    event_N: Ints
    """Number of each, the same when it comes again."""

    def once(self) -> Stream:
        """Return each event once, in another order than it came."""
        _, row_N = np.unique(self.event_N, return_index=True)
        return Stream(*(getattr(self, name)[row_N] for name in self.__slots__))


def drawn(events: int, seed: int = 0) -> Stream:
    """Draw events of investors and items, some of whom do and are met more than others."""
    rng = np.random.default_rng(seed)
    investors = max(1, events // _INVESTORS)
    user_N = (investors * rng.random(events) ** 1.5).astype(np.int64)
    item_N = 1 + (ITEMS * rng.random(events) ** 3).astype(np.int64)
    action_N = rng.choice(len(ACTIONS), events, p=[0.55, 0.25, 0.1, 0.04, 0.05, 0.01])
    moment_N = DAY_US + rng.integers(0, DAYS * DAY_US, events)
    came_N = moment_N + rng.exponential(1e6 * LATE_S, events).astype(np.int64)
    again_N = np.flatnonzero(rng.random(events) < TWICE)
    came_again_N = came_N[again_N] + rng.integers(0, DAY_US, len(again_N))
    row_N = np.concatenate([np.arange(events), again_N])
    row_N = row_N[np.argsort(np.concatenate([came_N, came_again_N]), kind="stable")]
    return Stream(user_N[row_N], item_N[row_N], action_N[row_N], moment_N[row_N], row_N)


def base(seed: int = 0) -> Facts:
    """Draw a catalogue that nothing was done with before the stream begins."""
    rng = np.random.default_rng((seed, 1))
    none = np.zeros(0, np.int64)
    links = {
        kind: sparse.random_array((ITEMS + 1, ITEMS + 1), density=1e-3, rng=rng, format="csr")
        for kind in EDGE_KINDS
    }
    return Facts(
        *(none,) * 7,
        risk_I=rng.integers(0, 6, ITEMS + 1),
        category_I=rng.integers(NOBODY, 20, ITEMS + 1),
        born_I=np.full(ITEMS + 1, NOBODY),
        code_IL=rng.integers(0, 64, (ITEMS + 1, 3)),
        closes=PriceHistory(none, none, np.zeros(0)),
        edges={kind: sparse.csr_matrix(link) for kind, link in links.items()},
        trials=Trials(none, none, none, np.zeros(0)),
    )


class Served:
    """The features that a service computes at a request."""

    def __init__(self, facts: Facts) -> None:
        self._facts, self._counts = facts, ItemCounts(facts)
        rows = {str(item): item for item in range(1, ITEMS + 1)}
        self.state = OnlineState(rows, Recent(facts), tied_sets=False)

    def take(self, told: Stream, rows: slice) -> int:
        """Take in some events; return how many were new."""
        columns = (told.event_N, told.user_N, told.item_N, told.action_N, told.moment_N)
        return sum(
            self.state.add(str(event), str(user), str(item), ACTIONS[action], moment)
            for event, user, item, action, moment in zip(
                *(column[rows].tolist() for column in columns), strict=True
            )
        )

    def features(self, user: int, moment: int, item_M: Ints) -> Float32s:
        """Return feature_MF of a request."""
        since = self.state.known(str(user))
        past = until(NOTHING.followed_by(self.state.past(since.events)), moment)
        classes = risk_classes(self._facts, NOBODY, None)
        facts = facts_of(past, classes, self._facts, self._counts, since.all)
        whom = np.array([ME if len(past) else NOBODY])
        _, found_RMF = slate_features(facts, whom, np.array([moment]), item_M[None], GROUPS)
        return np.asarray(found_RMF[0])


def by_batch(facts: Facts, told: Stream, user_R: Ints, moment_R: Ints, item_RM: Ints) -> Float32s:
    """Return feature_RMF of the same requests from a table of all events."""
    every = replace(
        facts,
        user_E=told.user_N,
        item_E=told.item_N,
        action_E=told.action_N,
        moment_E=told.moment_N,
    )
    return slate_features(every, user_R, moment_R, item_RM, GROUPS)[1]


def compared(facts: Facts, served: Served, told: Stream, asked: int) -> dict[str, Any]:
    """Ask both for the features of requests at any time; say how many differ."""
    rng = np.random.default_rng(2)
    user_R = rng.choice(told.user_N, asked)
    moment_R = DAY_US + rng.integers(0, (DAYS + 1) * DAY_US, asked)
    item_RM = 1 + (ITEMS * rng.random((asked, CANDIDATES)) ** 3).astype(np.int64)
    online_RMF = np.stack(
        [
            served.features(int(u), int(m), i)
            for u, m, i in zip(user_R, moment_R, item_RM, strict=True)
        ]
    )
    batch_RMF = by_batch(facts, told.once(), user_R, moment_R, item_RM)
    same = (online_RMF == batch_RMF) | (np.isnan(online_RMF) & np.isnan(batch_RMF))
    return {"compared": int(same.size), "differ": int((~same).sum())}


def measured(events: int) -> dict[str, Any]:
    """Send a stream of so many events in a process of its own; see `sent`."""
    told: dict[str, Any] = alone(sent, events)
    return told


def sent(events: int) -> dict[str, Any]:
    """Send a stream of so many events, ask in between, and compare with the batch at the end."""
    told, facts, rng = drawn(events), base(), np.random.default_rng(1)
    served, took, blocks, new = Served(facts), [], [], 0
    before = memory_mb()["own"]
    for begin in range(0, len(told.user_N), _BLOCK):
        taken = 0.0
        for start in range(begin, min(begin + _BLOCK, len(told.user_N)), EACH):
            rows = slice(start, start + EACH)
            begun = time.process_time()
            new += served.take(told, rows)
            taken += time.process_time() - begun
            user, moment = int(told.user_N[start]), int(told.moment_N[rows].max()) + 1
            item_M = 1 + (ITEMS * rng.random(CANDIDATES) ** 3).astype(np.int64)
            begun = time.process_time()
            served.features(user, moment, item_M)
            took.append(time.process_time() - begun)
        blocks.append(taken)
    held_mb = memory_mb()["own"] - before
    took_ms = 1e3 * np.array(took)
    fifth = max(1, len(took_ms) // 5)
    return {
        "events": events,
        "came": len(told.user_N),
        "new": new,
        "investors": len(np.unique(told.user_N)),
        "events_s": round(len(told.user_N) / sum(blocks)),
        "last_events_s": round(_BLOCK / blocks[-2 if len(blocks) > 1 else -1]),
        **_times("first", took_ms[:fifth]),
        **_times("last", took_ms[-fifth:]),
        "held_mb": round(held_mb),
        **compared(facts, served, told, ASKED),
    }


def _times(when: str, took_ms: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    return {
        f"{when}_p50_ms": round(float(np.median(took_ms)), 2),
        f"{when}_p99_ms": round(float(np.quantile(took_ms, 0.99)), 2),
        f"{when}_most_ms": round(float(took_ms.max()), 1),
    }


def main() -> None:
    """Measure and write results/stream_features.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[200_000, 1_000_000, 5_000_000])
    given = parser.parse_args()
    kept = Kept("stream_features", {"items": ITEMS, "candidates": CANDIDATES})
    rows = each(measured, given.events, "streams", kept)
    figures = {"items": ITEMS, "candidates": CANDIDATES, "groups": GROUPS, "late_s": LATE_S}
    write_result("stream_features", {**figures, "twice": TWICE, "rows": rows})


if __name__ == "__main__":
    main()
