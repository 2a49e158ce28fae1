"""Codes of investors tell a ranker what their vectors do, and only what was known before."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.investor_codes import EVERY_DAYS, Period, aucs, ranked, vectors_of
from benchmarks.investor_ways import SHORT, WAYS, WORDS, Vectors
from tessera.contracts.arrow import DAY_US
from tessera.contracts.errors import BadInput
from tessera.model.nn.ranking import TASKS
from tessera.model.sequences.catalogue import microsecond
from tessera.model.sequences.slates import Slates
from tessera.model.trunk.model import SequenceModel, Shape

REQUESTS, ITEMS, WIDTH = 3000, 13, 8


@pytest.fixture(scope="module")
def planted():
    """Requests of investors of six kinds, who click on every item of their kind and no other."""
    rng = np.random.default_rng(0)
    kind_R = rng.integers(6, size=REQUESTS)
    state_RD = 3 * rng.standard_normal((6, WIDTH))[kind_R] + rng.standard_normal((REQUESTS, WIDTH))
    state_RD = (state_RD / np.linalg.norm(state_RD, axis=1)[:, None]).astype(np.float32)
    item_RM = rng.integers(1, ITEMS, (REQUESTS, 2))
    click_RM = rng.random((REQUESTS, 2)) < np.where(item_RM % 6 == kind_R[:, None], 0.8, 0.1)
    label_RMT = np.repeat(click_RM[..., None], len(TASKS), 2).astype(np.float32)
    nobody_R = np.zeros(REQUESTS, np.int64)
    slates = Slates(
        nobody_R, nobody_R, nobody_R, item_RM, np.ones_like(item_RM),
        np.zeros((*item_RM.shape, 1), np.float32), label_RMT, np.ones_like(label_RMT),
    )  # fmt: skip
    item_VD = np.eye(6, WIDTH, dtype=np.float32)[np.arange(ITEMS) % 6]
    vectors = Vectors(
        state_RD, np.ones(REQUESTS, np.int64), state_RD[:600].astype(float), item_VD, seed=0
    )
    part_R = np.arange(REQUESTS) * 3 // REQUESTS
    periods = [Period(part_R == part, slates.take(part_R == part)) for part in range(3)]
    return vectors, periods


def auc(planted, way):
    vectors, periods = planted
    logit_RM = ranked(WAYS[way](vectors), periods, vectors.item_VD)
    cold_R = np.arange(len(logit_RM)) % 2 > 0
    return aucs(logit_RM, periods[-1].slates, cold_R)["auc"]


def test_codes_tell_what_the_vector_tells_and_those_of_another_nothing(planted):
    assert auc(planted, "none") == pytest.approx(0.5, abs=0.05)
    assert auc(planted, "dense") > 0.65
    assert auc(planted, "rq_fsq") > 0.65
    assert auc(planted, "decoded") > 0.65
    assert auc(planted, "shuffled") == pytest.approx(0.5, abs=0.05)


def test_every_way_costs_the_bits_that_it_says(planted):
    vectors, _ = planted
    told = {name: way(vectors) for name, way in WAYS.items()}
    assert told["none"].bits == 0
    assert told["dense"].bits == 32 * WIDTH
    for name in ("rkmeans", "rq_fsq"):
        assert told[name].field_RK.shape == (REQUESTS, SHORT)
        assert told[name].field_RK.min() >= 1
        assert told[name].field_RK.max() <= WORDS
        assert 2 ** told[name].bits == WORDS**SHORT
    assert len(np.unique(told["decoded"].dense_RX, axis=0)) <= len(
        np.unique(told["rq_fsq"].field_RK, axis=0)
    ), "no more is decoded than was coded"


def test_who_had_done_nothing_yet_has_no_codeword(planted):
    vectors = replace(planted[0], events_R=np.arange(REQUESTS) // 5)
    assert not WAYS["rq_fsq"](vectors).field_RK[:5].any()
    assert np.isnan(WAYS["decoded"](vectors).dense_RX[:5]).all()


def test_a_row_stands_beside_what_is_told_of_its_own_investor(planted):
    vectors, periods = planted
    told, period = WAYS["rq_fsq"](vectors), periods[1]
    item_RM = period.slates.item_RM.copy()
    item_RM[0, 1] = 0
    rows = replace(period, slates=replace(period.slates, item_RM=item_RM)).rows(told)
    own_R = np.flatnonzero(period.chosen_R)[[0, 1, 1]]
    assert rows.field_SK[:3].tolist() == told.field_RK[own_R].tolist()
    assert rows.item_S[:3].tolist() == [item_RM[0, 0], *item_RM[1]]
    assert len(rows.item_S) == (item_RM > 0).sum()


def test_a_vector_is_that_of_the_last_snapshot_before_the_request(slated, logged_world, small):
    params = small.model_copy(update={"window_days": 2.0})
    world = logged_world(slated, params)
    log = world.log
    shape = Shape("hstu", 8, 1, 1, 8, 0.0, 0.0, True, True, True, 13, ())
    torch.manual_seed(0)
    codes_VC = torch.zeros(13, 0, dtype=torch.long)
    model = SequenceModel(shape, codes_VC, torch.ones(13).bool()).eval()
    cut, step = microsecond(world.split.cut), EVERY_DAYS * DAY_US
    found = vectors_of(model, world, log, 0)
    later_R = log.slates.moment_R >= cut
    assert later_R.any()
    assert not found.events_R[~later_R].any(), "a month before the cut nobody had done anything"
    histories = world.histories
    moved_E = histories.item_E.copy()
    moved_E[histories.moment_E >= cut] = 5
    other = vectors_of(model, replace(world, histories=replace(histories, item_E=moved_E)), log, 0)
    np.testing.assert_array_equal(other.state_RD, found.state_RD)
    assert np.ptp(log.slates.moment_R) < step, "so that all after the cut share a snapshot"
    moved_E[histories.moment_E >= cut - DAY_US] = 5
    seen = vectors_of(model, replace(world, histories=replace(histories, item_E=moved_E)), log, 0)
    assert not np.array_equal(seen.state_RD[later_R], found.state_RD[later_R])


def test_nothing_to_learn_from_is_one_clear_line(planted):
    vectors = replace(planted[0], learn_UD=np.zeros((0, WIDTH)))
    with pytest.raises(BadInput, match="no code can be learnt"):
        WAYS["rq_fsq"](vectors)
