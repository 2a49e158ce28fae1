"""A market small enough to be trained on and judged in a test, as tables of the contracts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from tessera.contracts import arrow
from tessera.contracts.tables import EVENTS, EXPOSURES, ITEMS, OUTCOMES, SCORES, USERS
from tessera.shared.policies.slate import SlatePolicy, sample_slates

USERS_OF_IT, ITEMS_OF_IT, REQUESTS, CANDIDATES, POSITIONS = 40, 12, 900, 5, 2
BEGINS = datetime(2024, 12, 10, tzinfo=UTC)


def table(rows, contract):
    return pa.Table.from_pylist(rows, arrow.schema(contract))


def _events():
    """Everybody walks round one of two rings of items."""
    for user in range(USERS_OF_IT):
        for step in range(8):
            item = 6 * (user % 2) + (user + step) % 6
            at = BEGINS - timedelta(days=100 - 10 * step, minutes=user)
            yield {"event_id": f"{user:03d}{step}", "user_id": f"u{user:02d}",
                   "item_id": f"i{item:02d}", "action": "rate", "event_ts": at,
                   "time_kind": "exact"}  # fmt: skip


@pytest.fixture(scope="session")
def served_market():
    """Return its tables by name; clicks follow the scores, what was shown does not."""
    rng = np.random.default_rng(7)
    candidate_NC = np.argsort(rng.random((REQUESTS, ITEMS_OF_IT)), axis=1)[:, :CANDIDATES]
    chance_NC = rng.choice([0.05, 0.5], (REQUESTS, CANDIDATES))
    all_NC = np.ones(chance_NC.shape, bool)
    chosen_NL, propensity_NL, served_NLC = sample_slates(
        np.zeros(chance_NC.shape), all_NC, SlatePolicy(), POSITIONS, rng
    )
    exposures, outcomes, scores = [], [], []
    for row in range(REQUESTS):
        ids = [f"i{item:02d}" for item in candidate_NC[row]]
        request, at = {"request_id": f"r{row:04d}"}, BEGINS + timedelta(hours=row)
        scores.append(request | {"candidate_ids": ids, "candidate_scores": np.log(chance_NC[row])})
        for position, chosen in enumerate(chosen_NL[row]):
            exposures.append(
                request | {"position": position + 1, "user_id": f"u{row % USERS_OF_IT:02d}",
                           "item_id": ids[chosen], "event_ts": at, "policy_id": "v0",
                           "propensity": propensity_NL[row, position], "candidate_ids": ids,
                           "candidate_propensities": served_NLC[row, position],
                           "context_version": "1"}
            )  # fmt: skip
            if rng.random() < chance_NC[row, chosen]:
                outcomes.append(request | {"item_id": ids[chosen], "action": "click", "value": 0.0,
                                           "event_ts": at + timedelta(minutes=1)})  # fmt: skip
    items = [{"item_id": f"i{n:02d}", "name": f"Fund {n}", "risk_class": 1} for n in
             range(ITEMS_OF_IT)]  # fmt: skip
    users = [{"user_id": f"u{n:02d}", "valid_from": BEGINS - timedelta(days=200), "risk_class": 4}
             for n in range(USERS_OF_IT)]  # fmt: skip
    return {
        "events": table(list(_events()), EVENTS),
        "items": table(items, ITEMS),
        "users": table(users, USERS),
        "exposures": table(exposures, EXPOSURES),
        "outcomes": table(outcomes, OUTCOMES),
        "scores": table(scores, SCORES),
    }
