"""Histories on disk hold what a reader in memory holds, and only what is asked for comes back."""

from __future__ import annotations

import hashlib
import mmap
import tracemalloc
from dataclasses import replace
from datetime import timedelta

import ibis
import numpy as np
import pyarrow as pa
import pytest

from tessera.contracts import mapped
from tessera.contracts.split import LATER, TEST, TRAIN, VALIDATION
from tessera.contracts.tables import ACTIONS
from tessera.model.sequences.reading import read_histories
from tessera.model.sequences.windows import Batcher, last_windows
from tessera.model.training.examples import Examples

VOCABULARY = [f"i{item:02d}" for item in range(11)]
"""Item i11 is sold in the market, but unknown."""
COLUMNS = ("user_E", "item_E", "action_E", "moment_E", "phase_E", "group_E")


@pytest.fixture
def world(rows, split, rng):
    """Return events with ties, of every action and every period, in no order."""
    ids = rng.permutation(len(rows))
    tied = [
        row
        | {
            "event_ts": row["event_ts"].replace(hour=0, minute=0, second=0),
            "action": ACTIONS[k % len(ACTIONS)],
            "event_id": f"e{ids[k]:05d}",
        }
        for k, row in enumerate(rows)
    ]
    late = {**tied[0], "event_id": "late", "event_ts": split.test_until + timedelta(days=2)}
    return [*(tied[k] for k in rng.permutation(len(tied))), late | {"item_id": "i03"}]


def read(world, split, *, tied_sets=True, folder=None):
    events = ibis.memtable(pa.Table.from_pylist(world))
    return read_histories(events, split, VOCABULARY, tied_sets=tied_sets, folder=folder)


def draw(user, item):
    mixed = 0
    for one in (user, item):
        hashed = int.from_bytes(hashlib.blake2b(one.encode(), digest_size=8).digest(), "little")
        mixed = (mixed ^ hashed) * 0x9E3779B97F4A7C15 % 2**64
    return mixed


def phases(world, split):
    if split.protocol == "time":
        bounds = (split.validation_from, split.cut + timedelta.resolution)
        bounds += (split.test_until + timedelta.resolution,)
        return [sum(row["event_ts"] >= bound for bound in bounds) for row in world]
    place, back = {}, {}
    for k in sorted(
        range(len(world)), key=lambda k: (world[k]["event_ts"], world[k]["event_id"]), reverse=True
    ):
        user = world[k]["user_id"]
        place[k] = back[user] = back.get(user, -1) + 1
    return [{0: TEST, 1: VALIDATION}.get(place[k], TRAIN) for k in range(len(world))]


def held_in_memory(world, split, tied_sets):
    """Return the same columns as lists: sorted by Python, a row at a time."""
    found = []
    for row, phase in zip(world, phases(world, split), strict=True):
        if row["item_id"] in VOCABULARY:
            ties = (draw(row["user_id"], row["item_id"]), row["item_id"], row["action"])
            key = (*(ties if tied_sets else ()), row["event_id"])
            found.append((row["user_id"], phase, row["event_ts"], *key, row))
    found.sort(key=lambda entry: entry[:-1])
    users = sorted({entry[0] for entry in found})
    columns, before, group = {name: [] for name in COLUMNS}, None, 0
    for user, phase, moment, *_, row in found:
        same_user = before is not None and before[0] == user
        joins = tied_sets and before == (user, phase, moment)
        group = group + (not joins) if same_user else 0
        before = (user, phase, moment)
        columns["user_E"].append(users.index(user))
        columns["item_E"].append(VOCABULARY.index(row["item_id"]) + 1)
        columns["action_E"].append(ACTIONS.index(row["action"]))
        columns["moment_E"].append(round(moment.timestamp() * 1e6))
        columns["phase_E"].append(phase)
        columns["group_E"].append(group)
    return users, columns


@pytest.mark.parametrize("tied_sets", [True, False])
@pytest.mark.parametrize("protocol", ["time", "leave_last_out"])
@pytest.mark.parametrize("part", [7, 1 << 18])
def test_what_is_streamed_is_what_a_reader_in_memory_reads(
    world, split, monkeypatch, protocol, tied_sets, part
):
    monkeypatch.setattr(mapped, "PART", part)
    split = replace(split, protocol=protocol)
    histories = read(world, split, tied_sets=tied_sets)
    users, columns = held_in_memory(world, split, tied_sets)
    assert histories.user_id_U == users
    wanted = {TRAIN, VALIDATION, TEST} | ({LATER} if protocol == "time" else set())
    assert set(columns["phase_E"]) == wanted
    assert (max(columns["group_E"]) < 13) == tied_sets
    for name in COLUMNS:
        assert getattr(histories, name).tolist() == columns[name], name
    assert histories.first_U1.tolist() == [
        *(columns["user_E"].index(user) for user in range(len(users))),
        len(columns["user_E"]),
    ]


def test_parts_change_no_session_no_cut_set_and_no_batch(world, split, monkeypatch):
    def made():
        histories = read(world, split)
        rng = np.random.default_rng(1)
        windows = Examples(histories, histories.until(TRAIN), np.array([0])).windows(4, rng)
        batch = Batcher(histories).batch(windows)
        others = (histories.last_sessions(90_000.0), histories.split_sets(0.5, rng))
        return [
            *(getattr(batch, name).numpy() for name in batch.__slots__),
            *(getattr(other, name) for other in others for name in (*COLUMNS, "first_U1")),
            *(histories.until(phase) for phase in (TRAIN, VALIDATION, TEST)),
        ]

    whole = made()
    monkeypatch.setattr(mapped, "PART", 5)
    for one, two in zip(whole, made(), strict=True):
        assert np.array_equal(one, two)


def lies_on_disk(array):
    while array is not None and not isinstance(array, mmap.mmap):
        array = getattr(array, "base", None)
    return array is not None


def test_histories_and_what_is_made_of_them_lie_on_disk_and_leave_no_file(world, split, tmp_path):
    histories = read(world, split, folder=tmp_path)
    made = histories, histories.last_sessions(90_000.0), histories.split_sets(0.5, rng_of(0))
    for one in made:
        assert one.folder == tmp_path
        for name in COLUMNS:
            assert lies_on_disk(getattr(one, name)), name
    assert not list(tmp_path.iterdir())


def rng_of(seed):
    return np.random.default_rng(seed)


def test_a_reader_that_fails_leaves_no_file(world, split, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(mapped, "columns", fail)
    with pytest.raises(OSError, match="no space"):
        read(world, split, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def peak_of(events, split, folder, monkeypatch):
    """Return the most that arrays hold while histories are read and learnt from, in bytes."""
    users, length = 100, events // 100
    order = np.arange(events)
    hour = (order % length * 20 * 24 // length).astype("timedelta64[h]")
    rows = pa.table(
        {
            "event_id": [f"e{k:07d}" for k in order],
            "user_id": [f"u{k // length:03d}" for k in order],
            "item_id": [VOCABULARY[k % 11] for k in order],
            "action": [ACTIONS[k % 2] for k in order],
            "event_ts": pa.array(
                np.datetime64("2024-01-01T00", "us") + hour, pa.timestamp("us", tz="UTC")
            ),
        }
    )
    monkeypatch.setattr(mapped, "PART", 2000)
    table = ibis.memtable(rows)
    tracemalloc.start()
    try:
        histories = read_histories(table, split, VOCABULARY, tied_sets=True, folder=folder)
        examples = Examples(histories, histories.until(TRAIN), np.array([0]))
        assert examples.any_target()
        assert len(examples.warm_W()) == 11
        histories.last_sessions(60.0)
        histories.split_sets(0.5, rng_of(0))
        stop_U = histories.until(VALIDATION)
        windows = last_windows(histories.first_U1[:-1], stop_U, np.zeros(users, np.int64), 20)
        Batcher(histories).batch(windows)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_eight_times_the_events_take_less_than_half_a_column_more(split, tmp_path, monkeypatch):
    peak_of(1000, split, tmp_path, monkeypatch)  # whatever is imported or kept on the first call
    small, large = (peak_of(n, split, tmp_path, monkeypatch) for n in (20_000, 160_000))
    assert large - small < 8 * 140_000 / 2
