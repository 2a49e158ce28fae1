"""From arrays to a trained model: shape, lessons, validation, and the refit if asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from tessera.contracts.arrow import DAY_US
from tessera.contracts.errors import BrokenBundle
from tessera.hstu.histories import VALIDATION, Bools, Histories
from tessera.hstu.lessons import Lessons
from tessera.hstu.logged import ripe
from tessera.hstu.mixing import choose_mix, learn_closed_form, period_check
from tessera.hstu.model import SequenceModel, Shape
from tessera.hstu.params import HstuParams
from tessera.hstu.ranking import BUY, CLICK, answered_logit
from tessera.hstu.recency import log_spaced
from tessera.hstu.saved import load_model
from tessera.hstu.scoring import (
    encode,
    item_vectors,
    placed,
    rank_requests,
)
from tessera.hstu.slates import Slates
from tessera.hstu.train import Quality, Trained, Validate, train
from tessera.hstu.world import World, action_codes, learn_until
from tessera.metrics.slates import slate_auc

MOST_CHECKED = 2000
"""Slates that are ranked after each epoch."""


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use so many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True)
class Shown:
    """Slates of known requests with their features."""

    names: tuple[str, ...]
    slates: Slates
    is_check_R: Bools
    """Which are of the validation period; the others are to learn from."""

    def sample(self, most: int) -> Slates:
        """Return at most so many of the validation period, evenly spaced, shown at the top.

        Without any they are those to learn from.
        """
        rows = np.flatnonzero(self.is_check_R if self.is_check_R.any() else ~self.is_check_R)
        even = np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(np.int64))
        chosen = self.slates.take(rows[even])
        return replace(chosen, position_RM=np.ones_like(chosen.position_RM))


@dataclass(frozen=True, slots=True)
class Task:
    """What a model of one kind is trained on."""

    world: World
    shape: Shape
    shown: Shown | None


def fit(
    kind: Literal["hstu", "sasrec"], world: World, params: HstuParams, scratch: Path | None
) -> Trained:
    """Train one model with early stopping; with `refit`, once more on all that is known."""
    task = pose(kind, world, params)
    first = search(task, params, scratch)
    best = choose_mix(first.model, task.world, params)
    first.place.best_ndcg = first.place.best_ndcg if best is None else best
    if not params.refit:
        learn_closed_form(first.model, task.world, params, at_cut=True)
        return first
    return again(task, first, params, scratch)


def pose(kind: Literal["hstu", "sasrec"], world: World, params: HstuParams) -> Task:
    """Choose shape and slates of a model."""
    shown = _shown(world, params) if kind == "hstu" else None
    world = world if kind == "hstu" else replace(world, edge_VV=None)
    return Task(world, _shape(kind, world, params, shown), shown)


def search(task: Task, params: HstuParams, scratch: Path | None) -> Trained:
    """Train on what lies before validation, as long as validation gets better."""
    world, shown = task.world, task.shown
    lessons = _lessons(world, params, shown, refit=False)
    place = scratch / "search" if scratch else None
    validate = _validation(world, params, shown)
    first = train(task.shape, world.codes_VC, lessons, validate, params, place)
    _calibrate(first.model, world, shown)
    return first


def again(task: Task, first: Trained, params: HstuParams, scratch: Path | None) -> Trained:
    """Train on all that is known, for as many epochs as were best, with the mix of the first."""
    world, shown = task.world, task.shown
    epochs = first.place.best_epoch or first.place.epoch
    longest = params.model_copy(update={"epochs": max(1, epochs)})
    lessons = _lessons(world, params, shown, refit=True)
    place = scratch / "refit" if scratch else None
    last = train(task.shape, world.codes_VC, lessons, None, longest, place)
    last.place.best_ndcg = first.place.best_ndcg
    _calibrate(last.model, world, shown)
    learn_closed_form(last.model, world, params, at_cut=True)
    last.model.closed_form.let(**first.model.closed_form.mix)
    return last


def _shown(world: World, params: HstuParams) -> Shown | None:
    """Return the slates with a known answer; None without any, or if none are wanted."""
    if world.log is None or not params.rank_weight:
        return None
    learn_R, check_R, _ = ripe(world.log.slates, world.split, params)
    if not learn_R.any():
        return None
    names, slates = world.log.lessons(learn_R | check_R, params.features)
    return Shown(names, slates, check_R[learn_R | check_R])


def _calibrate(model: SequenceModel, world: World, shown: Shown | None) -> None:
    """Measure level and spread of the log odds, so that served scores have a common scale."""
    if model.rank is None or shown is None:
        return
    slates = shown.sample(MOST_CHECKED)
    logit_RMT = rank_requests(model, world.histories, slates).logit_RMT
    model.rank.calibrate(torch.from_numpy(logit_RMT[slates.item_RM > 0]))


def _shape(
    kind: Literal["hstu", "sasrec"], world: World, params: HstuParams, shown: Shown | None
) -> Shape:
    several_actions = _known_actions(world.histories) > 1
    return Shape(
        kind=kind,
        width=params.width,
        blocks=params.blocks,
        heads=params.heads,
        length=params.length,
        dropout=params.dropout,
        id_dropout=params.id_dropout,
        time_bias=params.time_bias and not world.split.ordinal,
        position_bias=params.position_bias,
        tied_sets=params.tied_sets,
        items=len(world.catalogue.vocabulary) + 1,
        code_sizes=tuple(int(level_V.max()) + 1 for level_V in world.codes_VC.T),
        guesses_actions=kind == "hstu" and params.mask_weight > 0 and several_actions,
        rank_blocks=params.rank_blocks if shown else 0,
        rank_hidden=params.rank_hidden if shown else 0,
        feature_groups=params.features if shown else (),
        features=shown.names if shown else (),
        score=params.score if shown else "recall",
        uplift_weight=params.uplift_weight,
        window=params.window,
        edge_bias=world.edge_VV is not None,
        recency_s=_recency_s(world, params) if kind == "hstu" else (),
        **_closed_form(world, params) if kind == "hstu" else {},
    )


def _recency_s(world: World, params: HstuParams) -> tuple[float, ...]:
    """Say where the scales of recency start, in seconds; an order of events has no scale."""
    if world.split.ordinal:
        return ()
    shortest, longest = (days * DAY_US / 1e6 for days in params.recency_days)
    return log_spaced(shortest, longest, params.recency_scales)


def _closed_form(world: World, params: HstuParams) -> dict[str, Any]:
    """Say which closed forms stand beside the trunk; those of time need one cut for all."""
    dated = world.split.protocol == "time"
    return {
        "item_weights_width": params.item_weights_width,
        "classes": int(world.catalogue.class_V.max()) + 1 if dated and params.demand_days else 0,
        "profits": dated and params.profit_weight > 0,
    }


def _known_actions(histories: Histories) -> int:
    """Return how many kinds of actions there are before the cut."""
    found: set[int] = set()
    for event_P in histories.parts():
        known_P = histories.phase_E[event_P] <= VALIDATION
        found |= {*np.unique(histories.action_E[event_P[known_P]]).tolist()}
    return len(found)


def _lessons(world: World, params: HstuParams, shown: Shown | None, *, refit: bool) -> Lessons:
    stop_U = learn_until(world.histories, refit=refit)
    slates = None
    if shown:
        slates = shown.slates.by_history(world.histories, refit | ~shown.is_check_R)
    return Lessons(world.histories, stop_U, action_codes(params.targets), slates, world.edge_VV)


def _validation(world: World, params: HstuParams, shown: Shown | None) -> Validate | None:
    """Return nDCG@10 and slate AUC on the validation period; None if nobody can be asked."""
    check = period_check(world, params)
    if check is None:
        return None
    slates = shown.sample(MOST_CHECKED) if shown and shown.is_check_R.any() else None

    def validate(model: SequenceModel) -> Quality:
        asking_QD = encode(model, world.histories, check.windows)
        found = check.ndcg(asking_QD, item_vectors(model), placed(model))
        return Quality(found, _auc(model, world, slates) if slates else None)

    return validate


def _auc(model: SequenceModel, world: World, slates: Slates) -> float | None:
    """Return the slate AUC of clicks and purchases together; None if it cannot be told."""
    logit_RMT = rank_requests(model, world.histories, slates).logit_RMT
    score_RM = answered_logit(torch.from_numpy(logit_RMT)).numpy()
    answered_RM = slates.label_RMT[..., [CLICK, BUY]].max(axis=-1)
    auc = slate_auc(score_RM, answered_RM, slates.item_RM > 0)
    return None if np.isnan(auc) else auc


def load_champion(bundle: Path) -> tuple[SequenceModel, list[str]] | None:
    """Return the champion's model and vocabulary; None if the champion is no model.

    Raises
    ------
    BrokenBundle
        If the bundle does not say what the champion is, or its model cannot be read.
    """
    try:
        kind = json.loads((bundle / "champion.json").read_text())["kind"]
    except (OSError, KeyError, ValueError) as error:
        raise BrokenBundle(f"{bundle} has no readable champion.json; publish it again") from error
    return load_model(bundle / "model") if kind == "model" else None
