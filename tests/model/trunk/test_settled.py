"""A history that is read on gives what it gives when it is read whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tessera.contracts.tables import ACTIONS
from tessera.model.nn.recency import RecencySettings
from tessera.model.trunk.model import SequenceModel, Shape
from tessera.model.trunk.one_pass import Reader
from tessera.model.trunk.settled import can_settle, read_on
from tessera.serve.online.investor import ME, Past, history_of
from tessera.serve.online.kept import KeptHistories

ITEMS, LENGTH, DAY_US = 30, 12, 86_400_000_000


def reader(**more):
    torch.manual_seed(3)
    shape = Shape(**{
        "kind": "hstu", "width": 8, "blocks": 3, "heads": 2, "length": LENGTH, "dropout": 0.1,
        "id_dropout": 0.0, "time_bias": True, "position_bias": True, "tied_sets": True,
        "items": ITEMS, "code_sizes": (), "rank_blocks": 2, "rank_hidden": 4, "score": "rank",
        "features": ("a",), **more,
    })  # fmt: skip
    codes_VC = torch.zeros(ITEMS, 0, dtype=torch.int64)
    edges = [torch.rand(ITEMS, ITEMS)] if shape.edge_bias else []
    model = SequenceModel(shape, codes_VC, torch.ones(ITEMS, dtype=torch.bool), *edges).eval()
    for part in model.parameters():
        torch.nn.init.normal_(part, std=0.3)
    return Reader.of(model)


def acts(count, seed):
    """Events of which every third shares its moment with the one before."""
    rng = np.random.default_rng(seed)
    moment = np.cumsum(rng.integers(1, 9 * DAY_US, count) * (np.arange(count) % 3 > 0))
    return Past(rng.integers(1, ITEMS, count), rng.integers(len(ACTIONS), size=count), moment)


def first(past, count):
    return Past(past.item_N[:count], past.action_N[:count], past.moment_N[:count])


def whole(found, past, moment):
    history = history_of(past, tied_sets=True)
    read = found.read(history, ME, moment)
    with torch.inference_mode():
        return found.model.encode(read.batch, found.item_VD)


def compare(seen, wanted):
    torch.testing.assert_close(seen.state_BLD, wanted.state_BLD, rtol=0, atol=1e-5)
    torch.testing.assert_close(seen.out_BLD, wanted.out_BLD, rtol=0, atol=1e-5)
    assert len(seen.memory) == len(wanted.memory)
    for mine, theirs in zip(seen.memory, wanted.memory, strict=True):
        torch.testing.assert_close(mine.key_BHLE, theirs.key_BHLE, rtol=0, atol=1e-5)
        torch.testing.assert_close(mine.value_BHLE, theirs.value_BHLE, rtol=0, atol=1e-5)


SHAPES = [{}, {"window": 3}, {"time_bias": False}, {"position_bias": False}, {"rank_blocks": 3}]


@pytest.mark.parametrize("more", SHAPES)
def test_events_one_after_the_other_give_what_the_whole_history_gives(more):
    found, past, settled = reader(**more), acts(40, seed=1), None
    for count in range(1, 40):
        known = first(past, count)
        for later in (1, 5 * DAY_US):
            moment = int(known.moment_N[-1]) + later
            read = found.read(history_of(known, tied_sets=True), ME, moment, settled)
            compare(read.seen, whole(found, known, moment))
            settled = read.settled
        assert settled is not None


def test_only_what_is_new_passes_the_layers(monkeypatch):
    found, past = reader(), acts(10, seed=2)
    rows = []
    for layer in found.model.layers:
        parts = layer.parts
        monkeypatch.setattr(
            layer, "parts", lambda x, parts=parts: rows.append(x.shape[1]) or parts(x)
        )
    settled = found.read(history_of(first(past, 9), tied_sets=True), ME, 10**16).settled
    last = int(np.sum(past.moment_N[:9] == past.moment_N[8]))
    assert len(settled) == 9 - last
    rows.clear()
    found.read(history_of(past, tied_sets=True), ME, 10**16, settled)
    assert rows == [10 - len(settled)] * 3


def test_a_late_event_in_the_past_is_read_again():
    found, past = reader(), acts(9, seed=4)
    settled = found.read(history_of(past, tied_sets=True), ME, 10**16).settled
    late = past.followed_by(Past(np.array([7]), np.array([2]), past.moment_N[4:5] + 1))
    read = found.read(history_of(late, tied_sets=True), ME, 10**16, settled)
    compare(read.seen, whole(found, late, 10**16))
    assert not settled.begins(read.batch)


@pytest.mark.parametrize(
    "more", [{"edge_bias": True}, {"state_part": RecencySettings((9.0,))}, {"kind": "sasrec",
             "rank_blocks": 0}]
)  # fmt: skip
def test_a_model_whose_rows_need_more_than_keys_and_values_reads_all(more):
    found = reader(**more)
    assert not can_settle(found.model)
    assert found.read(history_of(acts(5, 1), tied_sets=True), ME, 10**16).settled is None


def test_nobody_has_nothing_to_settle():
    found = reader()
    assert found.read(history_of(acts(5, 1), tied_sets=True), -1, 10**16).settled is None


def test_what_is_kept_stays_below_its_size_and_the_oldest_goes():
    found, kept = reader(), None
    settled = [
        found.read(history_of(acts(9, seed), tied_sets=True), ME, 10**16).settled
        for seed in range(4)
    ]
    kept = KeptHistories(2.5 * max(one.bytes for one in settled) / 2**20)
    for number, one in enumerate(settled):
        kept.keep(f"u{number}", one)
    assert [kept.of(f"u{number}") is settled[number] for number in range(4)] == [
        False, False, True, True
    ]  # fmt: skip
    none = KeptHistories(0.0)
    none.keep("u0", settled[0])
    assert none.of("u0") is None


def test_what_is_kept_goes_with_its_time():
    found = reader()
    settled = found.read(history_of(acts(9, 1), tied_sets=True), ME, 10**16).settled
    kept = KeptHistories(64.0, age_s=0.0)
    kept.keep("u0", settled)
    assert kept.of("u0") is None


def test_read_on_takes_the_whole_where_nothing_is_known():
    found, past = reader(), acts(8, 5)
    read = found.read(history_of(past, tied_sets=True), ME, 10**16)
    with torch.inference_mode():
        again, _ = read_on(found.model, read.batch, found.item_VD, None)
    compare(again, read.seen)
