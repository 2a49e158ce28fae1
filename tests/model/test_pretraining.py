"""Histories first, slates after: what pre-training keeps apart, survives and buys.

Legend: U users, E events, R requests, M positions, T tasks.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from tessera.contracts.errors import BadParams
from tessera.contracts.split import VALIDATION
from tessera.contracts.tables import ACTIONS
from tessera.model.nn.ranking import CLICK, TASKS
from tessera.model.params import HstuParams
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.slates import Slates
from tessera.model.trainer import loop
from tessera.model.training import train as train_module
from tessera.model.training.examples import Examples
from tessera.model.training.train import ItemTables, train
from tessera.model.trunk.inference import rank_requests
from tessera.model.trunk.model import Shape
from tessera.shared.metrics.slates import slate_auc

ITEMS, EVENTS, SHOWN = 40, 20, 5
ACTION = ACTIONS.index("click")


@dataclass
class Chain:
    """Users walk along a chain of items; each gap shows a slate of which the next is clicked."""

    histories: Histories
    stop_U: np.ndarray
    learn: Slates
    check: Slates
    """Slates of users that nobody learns from."""

    def examples(self, share=1.0):
        chosen_R = np.random.default_rng(1).random(len(self.learn)) < share
        first_U1, known_U = self.histories.first_U1, self.histories.until(VALIDATION)
        slates = self.learn.by_history(first_U1, known_U, chosen_R)
        return Examples(self.histories, self.stop_U, np.array([ACTION]), slates)

    def auc(self, model):
        click_RM = rank_requests(model, self.histories, self.check).logit_RMT[..., CLICK]
        label_RM = self.check.label_RMT[..., CLICK]
        return slate_auc(click_RM, label_RM, np.ones(label_RM.shape, bool))


def walk(users, rng):
    """Return item_UE with one event more than is known, a third of the steps at random."""
    after = 1 + rng.permutation(ITEMS)
    item_UE = rng.integers(1, ITEMS + 1, (users, EVENTS + 1))
    for step in range(EVENTS):
        follows_U = rng.random(users) < 0.7
        item_UE[follows_U, step + 1] = after[item_UE[follows_U, step] - 1]
    return item_UE


def chain(users, seed=0):
    rng = np.random.default_rng(seed)
    item_UE = walk(users, rng)
    hour_UE = np.cumsum(rng.integers(1, 48, (users, EVENTS)), axis=1)
    first_U1 = np.arange(users + 1) * EVENTS
    histories = Histories(
        [f"u{user}" for user in range(users)], first_U1,
        np.repeat(np.arange(users), EVENTS), item_UE[:, :-1].ravel(),
        np.full(users * EVENTS, ACTION), hour_UE.ravel() * 3_600_000_000,
        np.zeros(users * EVENTS, np.int64), np.tile(np.arange(EVENTS), users),
    )  # fmt: skip
    next_R = item_UE[:, 1:].ravel()
    slate_RM = rng.integers(1, ITEMS + 1, (len(next_R), SHOWN))
    holds_R = np.flatnonzero(rng.random(len(next_R)) < 0.7)
    slate_RM[holds_R, rng.integers(SHOWN, size=len(holds_R))] = next_R[holds_R]
    label_RMT = np.zeros((*slate_RM.shape, len(TASKS)), np.float32)
    weight_RMT = label_RMT.copy()
    label_RMT[..., CLICK], weight_RMT[..., CLICK] = slate_RM == next_R[:, None], 1.0
    slates = Slates(
        histories.user_E, histories.moment_E + 1_800_000_000, np.arange(len(next_R)) + 1,
        slate_RM, np.ones_like(slate_RM), np.zeros((*slate_RM.shape, 0), np.float32),
        label_RMT, weight_RMT,
    )  # fmt: skip
    known_U = np.arange(users) < 0.75 * users
    stop_U = np.where(known_U, first_U1[1:], first_U1[:-1])
    is_known_R = known_U[histories.user_E]
    return Chain(histories, stop_U, slates.take(is_known_R), slates.take(~is_known_R))


@pytest.fixture
def params():
    return HstuParams(
        width=16, blocks=1, length=EVENTS, epochs=5, pretrain_epochs=2, patience=5, batch=16,
        dropout=0.1, learning_rate=0.01, average_epochs=0.5, targets=("click",), slate_share=1.0,
        mask_weight=0.0, checkpoint_steps=2,
    )  # fmt: skip


def course(world, params, *, share=1.0, validate=None, folder=None):
    shape = Shape(
        "hstu", params.width, params.blocks, params.heads, params.length, params.dropout, 0.0,
        time_bias=True, position_bias=True, tied_sets=True, items=ITEMS + 1, code_sizes=(),
        rank_blocks=1, rank_hidden=16, score="rank",
    )  # fmt: skip
    none = torch.zeros(ITEMS + 1, 0, dtype=torch.long)
    return train(shape, ItemTables(none), world.examples(share), validate, params, folder)


def told(*values):
    """Return a validation that says these nDCGs and AUCs, one pair an epoch."""
    left = iter(values)
    return lambda _model: dict(zip(("ndcg", "auc"), next(left), strict=False))


def head(model):
    return {name: weight for name, weight in model.state_dict().items() if "rank." in name}


def test_before_ranking_starts_slates_teach_nothing(params):
    world, short = chain(24), params.model_copy(update={"epochs": 3})
    others = replace(world, learn=replace(world.learn, label_RMT=1 - world.learn.label_RMT))
    after = []
    for each in (world, others):
        seen = []
        found = course(each, short, validate=lambda m, seen=seen: keep(m, seen)).model
        after.append([*seen, found.state_dict()])
    for one, other in zip(after[0][:2], after[1][:2], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.equal(after[0][2][name], after[1][2][name]) for name in head(found))


def keep(model, seen):
    seen.append({name: weight.clone() for name, weight in model.state_dict().items()})
    return {"ndcg": 0.5, "auc": 0.5}


class Killed(Exception):
    pass


@pytest.mark.parametrize("steps", [3, 5])
def test_a_run_killed_in_either_phase_resumes_to_the_same_weights(
    params, tmp_path, monkeypatch, steps
):
    world = chain(24)  # two steps an epoch, so that ranking starts with the fifth
    values = [(0.3, 0.5), (0.4, 0.5), (0.3, 0.6), (0.3, 0.7), (0.3, 0.6)]
    whole = course(world, params, validate=told(*values))
    real, done = loop.Trainer._step, []

    def step(self, *args):
        if len(done) == steps:
            raise Killed
        done.append(1)
        return real(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "_step", step)
        with pytest.raises(Killed):
            course(world, params, validate=told(*values), folder=tmp_path)
    resumed = course(world, params, validate=told(*values[steps // 2 :]), folder=tmp_path)
    assert resumed.state == whole.state
    for name, weight in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], weight, atol=1e-6, rtol=0)


def test_the_best_epoch_is_one_that_ranks(params):
    world = chain(24)
    values = [(0.9, 0.5), (0.8, 0.5), (0.4, 0.6), (0.4, 0.7), (0.4, 0.65)]
    state = course(world, params, validate=told(*values)).state
    assert (state.best_epoch, state.best("ndcg"), state.best_value) == (4, 0.4, 0.4 * 0.7)
    assert state.measures["auc"] == [0.5, 0.5, 0.6, 0.7, 0.65]


def test_before_ranking_starts_recall_alone_is_judged(params, monkeypatch):
    real, done = train_module.batch_loss, []

    def poisoned(*args):
        done.append(1)
        return real(*args) * (np.nan if len(done) > 4 else 1.0)

    monkeypatch.setattr(train_module, "batch_loss", poisoned)
    state = course(chain(24), params, validate=told((0.5, 0.9), (0.6, 0.1))).state
    assert state.broken
    assert (state.epoch, state.best_epoch, state.best_value) == (2, 2, 0.6)


def test_patience_is_counted_from_where_ranking_starts(params):
    world = chain(24)
    impatient = params.model_copy(update={"pretrain_epochs": 4, "epochs": 9, "patience": 2})
    fading = [(0.9 - epoch / 10, 0.6) for epoch in range(9)]
    state = course(world, impatient, validate=told(*fading)).state
    assert (state.epoch, state.best_epoch) == (7, 5)


def test_without_slates_there_is_nothing_to_wait_for(params):
    world = chain(24)
    alone = replace(world.examples(), slates=None)
    shape = Shape("hstu", 16, 1, 1, EVENTS, 0.1, 0.0, True, True, True, ITEMS + 1, ())
    none = torch.zeros(ITEMS + 1, 0, dtype=torch.long)
    early = params.model_copy(update={"pretrain_epochs": 4, "patience": 2})
    values = [(0.5,), (0.4,), (0.4,), (0.4,), (0.4,)]
    state = train(shape, ItemTables(none), alone, told(*values), early, None).state
    assert (state.epoch, state.best_epoch) == (3, 1)


def test_a_course_without_an_epoch_of_ranking_is_refused():
    with pytest.raises(BadParams, match=r"hstu.pretrain_epochs 8 must be below epochs 8"):
        HstuParams(epochs=8, pretrain_epochs=8)


def test_few_labels_need_histories_and_many_do_not(params, monkeypatch):
    """SORT, arXiv 2603.03988: the fewer the labels, the more pre-training is worth."""
    world, gap = chain(400), {}
    whole = params.model_copy(update={"epochs": 12, "pretrain_epochs": 6})
    for share in (0.05, 1.0):
        pretrained = world.auc(course(world, whole, share=share).model)
        alone = whole.model_copy(update={"pretrain_epochs": 0, "recall_weight": 0.0})
        scratch = course(world, alone, share=share)
        gap[share] = pretrained - world.auc(scratch.model)
    assert gap[0.05] > 0.01
    assert gap[1.0] < gap[0.05] / 2
    assert world.auc(scratch.model) > 0.7, "all labels are enough"
