"""Acceptance figures of SORT and UniPinRec that take training: pruning, pre-training, one for two.

Usage: python -m benchmarks.acceptance [--seeds 1 2 3 4 5 6] [--jobs 2]

The world is drawn here and its answers are known.  As in production there is much history and few
slates: short histories of many users, a slate behind one event in five, and one in twenty of
those for the test of few labels.  Items belong to hidden classes and users like some of them.
What is learnt without labels is what ranking needs: the next item is often one of a liked class,
or the next in a ring through its own class, and it is clicked if its class is liked, else
dismissed.  Slates show random items of all classes and are answered by the same taste.  Histories
never hold what a slate showed, but what came of the same taste.

Recall is judged on the next item, ranking on the slates, both of users that nobody learnt from and
whose histories are only read, up to the request.  They are many, and compared user by user, because
the difference asked of pruning is small.  A model for one task alone has the loss of that task and
no other; from scratch means such a one for ranking, so that pre-training differs from it by its
losses, too, and the joint model from the start stands beside both.  All trainings take the same
number of epochs and keep the running mean; pre-trained ones spend three quarters on histories
alone.

World, sizes and weights of the losses were chosen on seed 100.  Seed 0 was looked at with heavier
weights, by which the joint model lost recall, so it is not among those reported.

Legend: U users, C classes, E events, R requests, M positions, T tasks, V items with padding first,
S seeds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common import write_result
from tessera.contracts.arrays import Bools, Float64s, Ints
from tessera.contracts.split import VALIDATION
from tessera.contracts.tables import ACTIONS
from tessera.model.nn.device import threads
from tessera.model.nn.ranking import CLICK, TASKS
from tessera.model.params import HstuParams
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.questions import top_items
from tessera.model.sequences.slates import Slates
from tessera.model.sequences.windows import last_windows
from tessera.model.training.examples import Examples
from tessera.model.training.train import ItemTables, train
from tessera.model.trunk.inference import encode, item_vectors, rank_requests
from tessera.model.trunk.model import SequenceModel, Shape
from tessera.shared.metrics.slates import slate_auc

_KNOWN, _HELD_OUT = 4000, 2000
_EVENTS, _ITEMS, _CLASSES, _SHOWN = 12, 200, 8, 5
_LIKED, _FAVOUR, _LOYAL, _NOISE = 3, 8.0, 0.3, 0.05
_LOGGED = 0.2
_TOP = 50
_FEW = 0.05
_LIKE, _DISLIKE = ACTIONS.index("click"), ACTIONS.index("dismiss")
_PARAMS = HstuParams(
    width=32, blocks=2, length=_EVENTS, epochs=36, batch=64, dropout=0.1, learning_rate=0.005,
    average_epochs=3.0, targets=("click", "dismiss"), slate_share=1.0, rank_weight=2.0,
    mask_weight=0.3, mask_share=0.15,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Planted:
    """A world, the slates to learn from and those of users that nobody learns from."""

    histories: Histories
    stop_U: Ints
    learn: Slates
    check: Slates
    next_R: Ints
    """The item after each slate of `check`."""
    liked_RM: Bools
    """Whether who was asked likes the item: what the best ranker of `check` would know."""


def _chain(rng: np.random.Generator) -> Ints:
    """Return the item after each: one ring through each class."""
    after_V = np.zeros(_ITEMS + 1, np.int64)
    for kind in range(_CLASSES):
        ring = rng.permutation(np.arange(1 + kind, _ITEMS + 1, _CLASSES))
        after_V[ring] = np.roll(ring, -1)
    return after_V


def _walk(liked_UC: Bools, rng: np.random.Generator) -> Ints:
    """Return item_UE: some steps follow the chain, the others favour liked classes."""
    users = len(liked_UC)
    after_V = _chain(rng)
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
    users = _KNOWN + _HELD_OUT
    liked_UC = rng.random((users, _CLASSES)).argsort(1) < _LIKED
    item_UE = _walk(liked_UC, rng)
    user_E = np.repeat(np.arange(users), _EVENTS)
    hour_UE = np.cumsum(rng.integers(1, 48, (users, _EVENTS)), axis=1)
    first_U1 = np.arange(users + 1) * _EVENTS
    item_E = item_UE[:, :-1].ravel()

    def likes(user: Ints, item: Ints) -> Bools:
        found: Bools = liked_UC[user, (item - 1) % _CLASSES]
        return found

    def clicks(user: Ints, item: Ints) -> Bools:
        return likes(user, item) ^ (rng.random(item.shape) < _NOISE)

    histories = Histories(
        [f"u{user}" for user in range(users)], first_U1, user_E, item_E,
        np.where(clicks(user_E, item_E), _LIKE, _DISLIKE), hour_UE.ravel() * 3_600_000_000,
        np.zeros(len(item_E), np.int64), np.tile(np.arange(_EVENTS), users),
    )  # fmt: skip
    slate_RM = rng.integers(1, _ITEMS + 1, (len(item_E), _SHOWN))
    label_RMT = np.zeros((*slate_RM.shape, len(TASKS)), np.float32)
    weight_RMT = label_RMT.copy()
    label_RMT[..., CLICK] = clicks(user_E[:, None], slate_RM)
    weight_RMT[..., CLICK] = 1.0
    slates = Slates(
        user_E, histories.moment_E + 1_800_000_000, np.arange(len(item_E)) + 1, slate_RM,
        np.ones_like(slate_RM), np.zeros((*slate_RM.shape, 0), np.float32), label_RMT, weight_RMT,
    )  # fmt: skip
    known_U = np.arange(users) < _KNOWN
    is_logged_E = rng.random(len(item_E)) < _LOGGED
    is_check_E = ~known_U[user_E] & (histories.group_E >= _EVENTS // 2)
    return Planted(
        histories,
        np.where(known_U, first_U1[1:], first_U1[:-1]),
        slates.take(known_U[user_E] & is_logged_E),
        slates.take(is_check_E),
        item_UE[:, 1:].ravel()[is_check_E],
        likes(user_E[:, None], slate_RM)[is_check_E],
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
    first_U1, known_U = world.histories.first_U1, world.histories.until(VALIDATION)
    slates = world.learn.by_history(first_U1, known_U, is_kept_R) if ranks else None
    examples = Examples(world.histories, world.stop_U, np.array([_LIKE, _DISLIKE]), slates)
    codes_VC = torch.zeros(_ITEMS + 1, 0, dtype=torch.long)
    return train(shape, ItemTables(codes_VC), examples, None, params, None).model


def auc_by_user(score_RM: NDArray[np.floating], check: Slates) -> Float64s:
    """Return the slate AUC of clicks of each held-out user; NaN where nothing tells."""
    label_RM = check.label_RMT[..., CLICK]
    is_shown_RM = np.ones(label_RM.shape, np.bool_)
    first = np.flatnonzero(np.diff(check.user_R, prepend=-1))
    rows = [slice(a, b) for a, b in zip(first, [*first[1:], len(check)], strict=True)]
    return np.array([slate_auc(score_RM[r], label_RM[r], is_shown_RM[r]) for r in rows])


def recall_by_user(model: SequenceModel, world: Planted) -> Float64s:
    """Return how often the next item is among the best 50, for each held-out user."""
    check = world.check
    start_R = world.histories.first_U1[check.user_R]
    windows = last_windows(start_R, check.stop_R, check.moment_R // 1_000_000, model.shape.length)
    state_RD = encode(model, world.histories, windows)
    lists = top_items(state_RD, item_vectors(model), np.arange(_ITEMS + 1) > 0, None, _TOP)
    is_hit_R = (lists.item_UK == world.next_R[:, None]).any(1)
    share_U: Float64s = is_hit_R.reshape(_HELD_OUT, -1).mean(1)
    return share_U


_ALONE = {"recall_weight": 0.0, "mask_weight": 0.0}
_EARLY = {"pretrain_epochs": 3 * _PARAMS.epochs // 4}
_TRAININGS: dict[str, tuple[float, dict[str, Any]]] = {
    "recall_alone": (1.0, {"rank_weight": 0.0, "mask_weight": 0.0}),
    "joint": (1.0, {}),
    "joint_without_mask": (1.0, {"mask_weight": 0.0}),
    "joint_all_layers": (1.0, {"rank_blocks": _PARAMS.blocks}),
    "ranking_alone": (1.0, _ALONE),
    "pretrained": (1.0, _EARLY),
    "few_joint": (_FEW, {}),
    "few_ranking_alone": (_FEW, _ALONE),
    "few_pretrained": (_FEW, _EARLY),
}
"""Each training: its share of the slates, and what it changes."""

_COMPARED = {
    "joint_recall": ("recall_50", {"joint": 1, "recall_alone": -1}),
    "joint_ranking": ("auc", {"joint": 1, "ranking_alone": -1}),
    "mask": ("auc", {"joint": 1, "joint_without_mask": -1}),
    "pruning": ("auc", {"joint": 1, "joint_all_layers": -1}),
    "few_labels": ("auc", {"few_pretrained": 1, "few_ranking_alone": -1}),
    "few_labels_joint": ("auc", {"few_pretrained": 1, "few_joint": -1}),
    "all_labels": ("auc", {"pretrained": 1, "ranking_alone": -1}),
}
"""Each difference: the score, and which trainings it adds and takes off."""


def measure(seed: int, name: str) -> dict[str, Float64s]:
    """Train one model and return its scores by held-out user."""
    with threads(1):
        world = plant(seed)
        share, changes = _TRAININGS[name]
        model = learn(world, share, seed=seed, **changes)
        score: dict[str, Float64s] = {}
        if "rank_weight" not in changes:
            ranked = rank_requests(model, world.histories, world.check)
            score["auc"] = auc_by_user(ranked.logit_RMT[..., CLICK], world.check)
        if "recall_weight" not in changes:
            score["recall_50"] = recall_by_user(model, world)
    told = ", ".join(f"{key} {np.nanmean(value_U):.4f}" for key, value_U in score.items())
    print(f"seed {seed}, {name}: {told}", file=sys.stderr, flush=True)
    return score


def _best_auc(seed: int) -> float:
    """Return the AUC of who knows every taste."""
    world = plant(seed)
    return float(np.nanmean(auc_by_user(world.liked_RM.astype(np.float64), world.check)))


Scores = dict[tuple[int, str], dict[str, Float64s]]


def compare(scores: Scores, seeds: Sequence[int], key: str, sign: dict[str, int]) -> dict[str, Any]:
    """Return a difference by seed, with its standard errors over users and over seeds."""
    gap_SU = np.array(
        [sum(s * scores[seed, name][key] for name, s in sign.items()) for seed in seeds]
    )
    gap_S, told_S = np.nanmean(gap_SU, axis=1), np.isfinite(gap_SU).sum(1)
    error_S = np.nanstd(gap_SU, axis=1, ddof=1) / np.sqrt(told_S)
    several = len(seeds) > 1
    return {
        "by_seed": [round(float(gap), 4) for gap in gap_S],
        "mean": round(float(gap_S.mean()), 4),
        "error_users": round(float(np.sqrt((error_S**2).sum())) / len(seeds), 4),
        "error_seeds": round(float(gap_S.std(ddof=1) / len(seeds) ** 0.5), 4) if several else None,
    }


def tell(scores: Scores, seeds: Sequence[int]) -> dict[str, Any]:
    """Return the means of every training of these seeds, and how they differ."""
    figures = {
        str(seed): {
            name: {key: round(float(np.nanmean(v)), 4) for key, v in scores[seed, name].items()}
            for name in _TRAININGS
        }
        for seed in seeds
    }
    differences = {name: compare(scores, seeds, *about) for name, about in _COMPARED.items()}
    best = float(np.mean([_best_auc(seed) for seed in seeds]))
    return {"seeds": figures, "differences": differences, "best_auc": round(best, 4)}


def main() -> None:
    """Measure every training; results/acceptance.json grows by each seed that is through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6])
    parser.add_argument("--jobs", type=int, default=2, help="trainings at the same time")
    given = parser.parse_args()
    asked = [(seed, name) for seed in given.seeds for name in _TRAININGS]
    scores: Scores = {}
    with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
        for one, score in zip(asked, pool.map(measure, *zip(*asked, strict=True)), strict=True):
            scores[one] = score
            if len(scores) % len(_TRAININGS) == 0:
                through = given.seeds[: len(scores) // len(_TRAININGS)]
                write_result("acceptance", tell(scores, through))


if __name__ == "__main__":
    main()
