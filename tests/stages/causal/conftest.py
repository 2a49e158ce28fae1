"""A confounded world whose effects are planted: activity and risk class drive every acquisition."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pyarrow as pa
import pytest

from tessera.contracts.split import Split

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 360


@dataclass(frozen=True)
class World:
    events: pa.Table
    users: pa.Table
    split: Split
    planted: dict[tuple[str, str], float]


def event_table(user, item, day, action="buy", units=None):
    """Events from plain columns; `day` may be fractional."""
    n = len(user)
    return pa.table(
        {
            "event_id": [f"e{k:08d}" for k in range(n)],
            "user_id": list(user),
            "item_id": list(item),
            "action": [action] * n,
            "event_ts": pa.array(
                [START + timedelta(days=float(d)) for d in day], pa.timestamp("us", tz="UTC")
            ),
            "units": pa.array([units] * n, pa.float64()),
        }
    )


def user_table(user, risk, capacity):
    return pa.table(
        {
            "user_id": list(user),
            "valid_from": pa.array([START] * len(user), pa.timestamp("us", tz="UTC")),
            "risk_class": pa.array(risk, pa.int64()),
            "capacity_class": pa.array(capacity, pa.int64()),
        }
    )


def whole_split():
    return Split(
        validation_from=START + timedelta(days=DAYS - 60),
        cut=START + timedelta(days=DAYS),
        test_until=START + timedelta(days=DAYS + 60),
    )


def grow(seed=0, n_users=3000, n_items=24, months=12):
    """Each month an investor acquires each item with a probability that risk class, activity and
    the item's popularity set, plus the planted effects of what is held already."""
    rng = np.random.default_rng(seed)
    risk_U = rng.integers(1, 5, n_users)
    capacity_U = rng.integers(1, 5, n_users)
    activity_U = np.exp(0.7 * rng.standard_normal(n_users)) * (0.4 + 0.3 * capacity_U)
    popularity_I = np.exp(0.8 * rng.standard_normal(n_items))
    risk_I = rng.integers(1, 5, n_items)
    taste_UI = np.exp(-1.2 * np.abs(risk_U[:, None] - risk_I[None, :]))
    base_UI = np.clip(0.03 * activity_U[:, None] * taste_UI * popularity_I, 0, 0.5)
    effect_II = np.zeros((n_items, n_items))
    chosen = rng.choice(n_items * n_items, n_items * 3, replace=False)
    effect_II.flat[chosen] = rng.choice([-0.03, 0.05, 0.1], len(chosen))
    np.fill_diagonal(effect_II, 0.0)
    held_UI = np.zeros((n_users, n_items), bool)
    rows = []
    for month in range(months):
        chance_UI = np.clip(base_UI + held_UI @ effect_II, 0, 1)
        gained_UI = (rng.random(chance_UI.shape) < chance_UI) & ~held_UI
        user, item = np.nonzero(gained_UI)
        rows.append((user, item, 30 * month + 30 * rng.random(len(user))))
        held_UI |= gained_UI
    user, item, day = (np.concatenate(column) for column in zip(*rows, strict=True))
    names = [f"i{k:02d}" for k in range(n_items)]
    planted = {
        (names[i], names[j]): effect_II[i, j]
        for i in range(n_items)
        for j in range(n_items)
        if i != j
    }
    events = event_table([f"u{k:05d}" for k in user], [names[k] for k in item], day)
    users = user_table([f"u{k:05d}" for k in range(n_users)], risk_U, capacity_U)
    return World(events, users, whole_split(), planted)


@pytest.fixture(scope="session")
def confounded() -> World:
    return grow()


@pytest.fixture(scope="session")
def tables():
    """The builders of tiny worlds."""

    class Builders:
        events = staticmethod(event_table)
        users = staticmethod(user_table)
        split = staticmethod(whole_split)
        lazy = staticmethod(ibis.memtable)

    return Builders
