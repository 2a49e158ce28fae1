from dataclasses import replace

import ibis
import numpy as np
import pyarrow as pa
import pytest

from tessera.contracts.split import TEST, TRAIN, VALIDATION
from tessera.contracts.tables import ACTIONS
from tessera.model.sequences.reading import read_histories
from tessera.model.sequences.windows import (
    Batcher,
    Windows,
    by_length,
    last_windows,
    shuffled_batches,
)
from tessera.model.training.examples import BatchBuilder, Examples

VOCABULARY = [f"i{item:02d}" for item in range(12)]


def read(rows, split):
    return read_histories(
        ibis.memtable(pa.Table.from_pylist(rows)), split, VOCABULARY, tied_sets=True
    )


@pytest.mark.parametrize("period", [VALIDATION, TEST])
def test_what_is_known_before_a_period_is_asked_for_at_its_start(world, period):
    begins = world.split.validation_from if period == VALIDATION else world.split.cut
    windows, histories = world.windows(period, 3), world.histories
    assert (windows.request_W == begins.timestamp()).all()
    assert np.array_equal(windows.stop_W, histories.until(period - 1))
    known_U = windows.stop_W - histories.first_U1[:-1]
    assert np.array_equal(windows.stop_W - windows.start_W, np.minimum(known_U, 3))


def test_every_training_event_is_a_target_exactly_once(rows, split, rng):
    histories = read(rows, split)
    stop = histories.until(TRAIN)
    examples = Examples(histories, stop, np.arange(len(ACTIONS)))
    windows = examples.windows(4, rng)
    assert (windows.stop_W - windows.start_W).max() <= 4
    asked = BatchBuilder(examples, None).targets(windows)
    inside = np.arange(len(histories.item_E)) < np.repeat(stop, np.diff(histories.first_U1))
    assert len(asked.item_N) == inside.sum()
    assert np.array_equal(np.bincount(asked.item_N.numpy()), np.bincount(histories.item_E[inside]))
    assert (asked.state_N == -1).sum() == (stop > histories.first_U1[:-1]).sum()


def test_targets_come_from_the_set_before_and_only_from_wanted_events(rows, split):
    tied = [row | {"event_ts": rows[0]["event_ts"]} if k < 3 else row
            for k, row in enumerate([r for r in rows if r["user_id"] == "u000"])]  # fmt: skip
    histories = read(tied, split)
    windows = Windows(np.array([0]), np.array([6]), np.array([0]))
    wanted = np.array([True, True, True, True, False, True, *[True] * 8])
    histories = replace(histories, action_E=np.where(wanted, 1, 0))
    examples = Examples(histories, histories.first_U1[1:], np.array([1]))
    asked = BatchBuilder(examples, None).targets(windows)
    assert asked.state_N.tolist() == [-1, -1, -1, 0, 2]
    assert asked.item_N.tolist() == histories.item_E[[0, 1, 2, 3, 5]].tolist()


def test_a_batch_is_left_aligned_and_asks_each_state_at_the_next_time(rows, split):
    histories = read(rows, split)
    first = histories.first_U1
    windows = Windows(first[[0, 1]] + [2, 0], first[[0, 1]] + [7, 3], np.array([77, 88]))
    batch = Batcher(histories).batch(windows)
    assert batch.item_BL[1].tolist() == [*histories.item_E[first[1] : first[1] + 3], 0, 0]
    assert batch.group_BL.tolist() == [[0, 1, 2, 3, 4], [0, 1, 2, 5, 5]]
    seconds = histories.second(np.arange(len(histories.item_E)))
    assert batch.request_BL[0].tolist() == [*seconds[first[0] + 3 : first[0] + 7], 77]
    assert batch.request_BL[1, 2] == 88


def test_an_empty_window_is_all_padding_even_behind_the_last_event(rows, split):
    histories = read(rows, split)
    end = len(histories.item_E)
    batch = Batcher(histories).batch(Windows(np.array([end]), np.array([end]), np.array([5])))
    assert not batch.item_BL.any()


def test_last_windows_keep_the_most_recent_events():
    windows = last_windows(np.array([0, 10]), np.array([10, 12]), np.array([1, 2]), 4)
    assert windows.start_W.tolist() == [6, 10]


def test_batches_hold_every_window_once_and_lengths_alike(rows, split, rng):
    histories = read(rows, split)
    windows = Examples(histories, histories.until(TRAIN), np.array([1])).windows(4, rng)
    batches = shuffled_batches(windows, 7, rng)
    assert sorted(np.concatenate(batches)) == list(range(len(windows)))
    lengths = windows.stop_W - windows.start_W
    spread = [np.ptp(lengths[chosen]) for chosen in by_length(windows, 7)]
    assert max(spread) <= 1
