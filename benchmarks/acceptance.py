"""Acceptance figures of SORT and UniPinRec that take training: pruning, pre-training, one for two.

Usage: python -m benchmarks.acceptance [--seeds 0 1 2]

The world is drawn here and its answers are known: users walk along a chain of items and like some
classes; slates show random items, of which those of a liked class are clicked, nine times in ten.
Recall is judged on the next item, ranking on the slates, both of users that nobody learnt from.
Few labels: from scratch ranks alone, pre-trained learns both after histories alone, so both differ.
All trainings of a comparison take the same number of epochs, enough for each of them to stop
getting better, and keep the last running mean.

Legend: U users, E events, R requests, M positions, T tasks, V items with padding first.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from benchmarks.common import write_result
from tessera.contracts.tables import ACTIONS
from tessera.hstu.fit import threads
from tessera.hstu.histories import Bools, Histories, Ints
from tessera.hstu.lessons import Lessons
from tessera.hstu.model import SequenceModel, Shape
from tessera.hstu.params import HstuParams
from tessera.hstu.ranking import CLICK, TASKS
from tessera.hstu.scoring import encode, item_vectors, rank_requests, top_items
from tessera.hstu.sequences import last_windows
from tessera.hstu.slates import Slates
from tessera.hstu.train import train
from tessera.metrics.slates import slate_auc

_USERS, _EVENTS, _ITEMS, _CLASSES, _SHOWN = 1500, 20, 200, 10, 5
_KNOWN, _LOYAL, _NOISE, _LIKED, _FAVOUR = 0.5, 0.5, 0.1, 0.4, 3.0
_TOP = 50
_FEW = 0.05
_LIKE, _DISLIKE = ACTIONS.index("click"), ACTIONS.index("dismiss")
_PARAMS = HstuParams(
    width=32, blocks=2, length=_EVENTS, epochs=80, batch=32, dropout=0.1, learning_rate=0.005,
    average_epochs=0.5, targets=("click", "dismiss"), slate_share=1.0, mask_weight=0.3,
)  # fmt: skip
_WEIGHTS = (10.0, 30.0)
"""Weights of the ranking loss that the joint model is judged at."""


@dataclass(frozen=True, slots=True)
class Planted:
    """A world, the slates to learn from and those of users that nobody learns from."""

    histories: Histories
    stop_U: Ints
    next_U: Ints
    """The item after the last event."""
    learn: Slates
    check: Slates


def _walk(liked_UC: Bools, rng: np.random.Generator) -> Ints:
    """Return item_UE: half the steps follow the chain, the others favour liked classes."""
    users = len(liked_UC)
    after_V = np.append(0, 1 + rng.permutation(_ITEMS))
    chance_UC = np.where(liked_UC, _FAVOUR, 1.0)
    chance_UC /= chance_UC.sum(1, keepdims=True)
    item_UE = np.zeros((users, _EVENTS + 1), np.int64)
    for step in range(_EVENTS + 1):
        class_U = (chance_UC.cumsum(1) > rng.random((users, 1))).argmax(1)
        drawn_U = 1 + class_U + _CLASSES * rng.integers(_ITEMS // _CLASSES, size=users)
        follows_U = (rng.random(users) < _LOYAL) & (step > 0)
        item_UE[:, step] = np.where(follows_U, after_V[item_UE[:, max(0, step - 1)]], drawn_U)
    return item_UE


def plant(seed: int) -> Planted:
    """Draw a world."""
    rng = np.random.default_rng(seed)
    liked_UC = rng.random((_USERS, _CLASSES)) < _LIKED
    item_UE = _walk(liked_UC, rng)
    user_E = np.repeat(np.arange(_USERS), _EVENTS)
    hour_UE = np.cumsum(rng.integers(1, 48, (_USERS, _EVENTS)), axis=1)
    first_U1 = np.arange(_USERS + 1) * _EVENTS
    item_E = item_UE[:, :-1].ravel()

    def likes(user: Ints, item: Ints) -> Bools:
        found: Bools = liked_UC[user, (item - 1) % _CLASSES] ^ (rng.random(item.shape) < _NOISE)
        return found

    histories = Histories(
        [f"u{user}" for user in range(_USERS)], first_U1, user_E, item_E,
        np.where(likes(user_E, item_E), _LIKE, _DISLIKE), hour_UE.ravel() * 3_600_000_000,
        np.zeros(len(item_E), np.int64), np.tile(np.arange(_EVENTS), _USERS),
    )  # fmt: skip
    slate_RM = rng.integers(1, _ITEMS + 1, (len(item_E), _SHOWN))
    label_RMT = np.zeros((*slate_RM.shape, len(TASKS)), np.float32)
    weight_RMT = label_RMT.copy()
    label_RMT[..., CLICK] = likes(np.tile(user_E[:, None], _SHOWN), slate_RM)
    weight_RMT[..., CLICK] = 1.0
    slates = Slates(
        user_E, histories.moment_E + 1_800_000_000, np.arange(len(item_E)) + 1, slate_RM,
        np.ones_like(slate_RM), np.zeros((*slate_RM.shape, 0), np.float32), label_RMT, weight_RMT,
    )  # fmt: skip
    known_U = np.arange(_USERS) < _KNOWN * _USERS
    is_late_E = histories.group_E >= _EVENTS // 2
    return Planted(
        histories,
        np.where(known_U, first_U1[1:], first_U1[:-1]),
        item_UE[:, -1],
        slates.take(known_U[user_E]),
        slates.take(~known_U[user_E] & is_late_E),
    )


def learn(world: Planted, share: float = 1.0, **changes: Any) -> SequenceModel:
    """Train on a share of the slates; `rank_weight` 0 trains the specialised recall model."""
    params = HstuParams.model_validate({**_PARAMS.model_dump(), **changes})
    ranks = params.rank_weight > 0
    shape = Shape(
        "hstu", params.width, params.blocks, params.heads, params.length, params.dropout, 0.0,
        time_bias=True, position_bias=True, tied_sets=True, items=_ITEMS + 1, code_sizes=(),
        guesses_actions=params.mask_weight > 0, rank_blocks=params.rank_blocks if ranks else 0,
        rank_hidden=params.rank_hidden if ranks else 0, score="rank" if ranks else "recall",
    )  # fmt: skip
    is_kept_R = np.random.default_rng(params.seed).random(len(world.learn)) < share
    slates = world.learn.by_history(world.histories, is_kept_R) if ranks else None
    lessons = Lessons(world.histories, world.stop_U, np.array([_LIKE, _DISLIKE]), slates)
    codes_VC = torch.zeros(_ITEMS + 1, 0, dtype=torch.long)
    return train(shape, codes_VC, lessons, None, params, None).model


def auc(model: SequenceModel, world: Planted) -> float:
    """Return the slate AUC of clicks."""
    logit_RM = rank_requests(model, world.histories, world.check).logit_RMT[..., CLICK]
    label_RM = world.check.label_RMT[..., CLICK]
    return slate_auc(logit_RM, label_RM, np.ones(label_RM.shape, np.bool_))


def recall(model: SequenceModel, world: Planted) -> float:
    """Return how often the next item is among the best 50."""
    user_Q = np.unique(world.check.user_R)
    first_U1, stop_Q = world.histories.first_U1, world.histories.first_U1[user_Q + 1]
    request_Q = world.histories.second(stop_Q - 1) + 1800
    windows = last_windows(first_U1[user_Q], stop_Q, request_Q, model.shape.length)
    state_QD = encode(model, world.histories, windows)
    lists = top_items(state_QD, item_vectors(model), np.arange(_ITEMS + 1) > 0, None, _TOP)
    return float((lists.item_UK == world.next_U[user_Q, None]).any(1).mean())


def measure(seed: int) -> dict[str, float]:
    """Return every figure of one world."""
    world, found = plant(seed), {}
    found["recall_alone_recall_50"] = recall(learn(world, rank_weight=0.0, seed=seed), world)
    for weight in _WEIGHTS:
        model = learn(world, rank_weight=weight, seed=seed)
        found[f"joint_{weight:g}_recall_50"] = recall(model, world)
        found[f"joint_{weight:g}_auc"] = auc(model, world)
        bare = learn(world, rank_weight=weight, mask_weight=0.0, seed=seed)
        found[f"joint_{weight:g}_without_mask_auc"] = auc(bare, world)
    alone = {"recall_weight": 0.0, "seed": seed}
    found["ranking_alone_auc"] = auc(learn(world, **alone), world)
    found["all_layers_auc"] = auc(learn(world, rank_blocks=2, **alone), world)
    found["without_mask_auc"] = auc(learn(world, mask_weight=0.0, **alone), world)
    found["few_labels_scratch_auc"] = auc(learn(world, _FEW, **alone), world)
    half = _PARAMS.epochs // 2
    for name, share in (("few_labels", _FEW), ("all_labels", 1.0)):
        told = learn(world, share, pretrain_epochs=half, rank_weight=_WEIGHTS[-1], seed=seed)
        found[f"{name}_pretrained_auc"] = auc(told, world)
    return {name: round(value, 4) for name, value in found.items()}


def main() -> None:
    """Measure every seed and write results/acceptance.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    with threads(1):
        found = {str(seed): measure(seed) for seed in seeds}
    mean = {
        name: round(float(np.mean([one[name] for one in found.values()])), 4)
        for name in found[str(seeds[0])]
    }
    write_result("acceptance", {"seeds": found, "mean": mean})


if __name__ == "__main__":
    main()
