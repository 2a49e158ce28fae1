"""A market of twelve items in two rings: whoever bought one item buys the next of its ring."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import ibis
import numpy as np
import pyarrow as pa
import pytest

from tessera.contracts.arrow import schema
from tessera.contracts.split import Split, save_split
from tessera.contracts.tables import EXPOSURES
from tessera.hstu.fit import threads
from tessera.hstu.params import HstuParams

START = datetime(2024, 1, 1, tzinfo=UTC)
ITEMS = [f"i{item:02d}" for item in range(12)]


def draw_events(users, length, seed):
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        ring, place = rng.integers(2), rng.integers(6)
        moment = START + timedelta(seconds=int(rng.integers(86_400)))
        for _ in range(length):
            if rng.random() < 0.1:
                place = rng.integers(6)
            rows.append((f"u{user:03d}", ITEMS[6 * ring + place], "click", moment))
            place = (place + 1) % 6
            moment += timedelta(hours=int(rng.integers(1, 48)))
    rows.sort(key=lambda row: row[3])
    names = ("user_id", "item_id", "action", "event_ts")
    return [
        dict(zip(names, row, strict=True)) | {"event_id": f"e{index:05d}", "time_kind": "exact"}
        for index, row in enumerate(rows)
    ]


def as_table(rows, types=None):
    return ibis.memtable(pa.Table.from_pylist(rows, schema=types))


@pytest.fixture(autouse=True)
def one_thread():
    with threads(1):
        yield


@pytest.fixture
def split():
    day = timedelta(days=1)
    return Split(START + 12 * day, START + 15 * day, START + 20 * day)


@pytest.fixture
def rows():
    return draw_events(60, 14, seed=0)


@pytest.fixture
def tables(rows, split):
    """Return the tables of the stage; one request of each user after the cut."""
    items = [{"item_id": item, "valid_from": None, "valid_to": None} for item in ITEMS]
    items[11]["valid_to"] = split.cut
    stamp = pa.timestamp("us", tz="UTC")
    item_types = pa.schema([("item_id", pa.string()), ("valid_from", stamp), ("valid_to", stamp)])
    exposures = [
        {
            "request_id": f"r{user:03d}", "position": 1, "user_id": f"u{user:03d}",
            "item_id": ITEMS[0], "event_ts": split.cut + timedelta(hours=user + 1),
            "policy_id": "p", "propensity": 0.5, "candidate_ids": ITEMS[:4],
            "candidate_propensities": [0.25] * 4, "context_version": "c",
        }
        for user in range(60)
    ]  # fmt: skip
    codes = [{"item_id": item, "code": [k // 6, k % 3, k], "sid": item}
             for k, item in enumerate(ITEMS)]  # fmt: skip
    return SimpleNamespace(
        events=as_table(rows),
        items=as_table(items, item_types),
        users=as_table([{"user_id": f"u{user:03d}"} for user in range(61)]),
        exposures=as_table(exposures, schema(EXPOSURES)),
        codes=as_table(codes),
    )


@pytest.fixture
def small():
    """Return params of a model that learns the rings in a second or two."""
    return HstuParams(
        width=16, length=8, epochs=3, batch=16, dropout=0.1, learning_rate=0.01,
        targets=("click",), acquired=("click",), filter_seen=False, top=5, checkpoint_steps=3,
    )  # fmt: skip


@pytest.fixture
def stage_files(tmp_path, split):
    save_split(split, tmp_path / "split.json")
    champion = tmp_path / "champion"
    champion.mkdir()
    (champion / "champion.json").write_text('{"version": "v0", "kind": "logging"}')
    return tmp_path
