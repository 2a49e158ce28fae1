"""From arrays to a trained model: shape, examples, validation, and the refit if asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from tessera.contracts.arrays import Bools, Float32s, Float64s
from tessera.contracts.split import VALIDATION
from tessera.model.nn.own_share import OwnShareSettings
from tessera.model.nn.ranking import BUY, CLICK, answered_logit
from tessera.model.params import ModelParams
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.exposure_log import Log
from tessera.model.sequences.questions import Question, action_codes
from tessera.model.sequences.slates import Slates
from tessera.model.sequences.windows import Batcher
from tessera.model.training.curves import AUC, NDCG
from tessera.model.training.examples import Examples
from tessera.model.training.maturity import maturity
from tessera.model.training.shape import choose_shape
from tessera.model.training.train import ItemTables, Trained, train
from tessera.model.training.vector_mix import choose_mix, learn_closed_form, mix_values
from tessera.model.trunk.inference import (
    encode,
    item_vectors,
    placed,
    rank_requests,
    trunk_states,
)
from tessera.model.trunk.model import SequenceModel, Shape
from tessera.shared.metrics.choice import MOST_ASKED
from tessera.shared.metrics.slates import slate_auc

MOST_CHECKED = 2000
"""Slates that are ranked after each epoch."""


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
    """What a model of one kind is trained on, and what its validation asks."""

    dataset: Dataset
    params: ModelParams
    shape: Shape
    shown: Shown | None
    asked: Question
    """Question of the validation period."""

    def search(self, scratch: Path | None) -> Trained:
        """Train on what lies before validation, as long as validation gets better."""
        validate = self.validate if self.asked.has_answer() else None
        folder = scratch / "search" if scratch else None
        examples = self.examples(refit=False)
        tables = self.tables(refit=False)
        return self._calibrated(train(self.shape, tables, examples, validate, self.params, folder))

    def again(self, first: Trained, scratch: Path | None) -> Trained:
        """Train on all that is known, as many epochs as were best, with the mix of the first."""
        epochs = first.state.best_epoch or first.state.epoch
        longest = self.params.model_copy(update={"epochs": max(1, epochs)})
        folder = scratch / "refit" if scratch else None
        examples = self.examples(refit=True)
        tables = self.tables(refit=True)
        last = self._calibrated(train(self.shape, tables, examples, None, longest, folder))
        self.learn_closed_form(last.model, at_cut=True)
        last.model.closed_form.let(**first.model.closed_form.mix)
        return replace(last, mixed_ndcg=first.figures()["validation_ndcg_at_10"])

    def mixed(self, first: Trained) -> Trained:
        """Let closed forms count beside the trunk as the validation period wants it."""
        model = first.model
        if model.shape.profits:
            model.closed_form.let(profit=self.params.profit_weight)
        return replace(first, mixed_ndcg=choose_mix(model, self.mix_values(model)))

    def mix_values(self, model: SequenceModel) -> Float64s:
        """Return value_MU, see there, on some of those asked; empty if no mix can be chosen.

        The closed forms are left as they were known when validation began.
        """
        if len(list(model.closed_form.choices())) == 1 or not self.asked.has_answer():
            return np.zeros((0, 0))
        asked, histories = self.asked.sample(MOST_ASKED), self.dataset.histories
        self.learn_closed_form(model, at_cut=False)
        state_QD = trunk_states(model, histories, asked.windows)
        return mix_values(model, asked, state_QD, Batcher(histories).batch(asked.windows))

    def learn_closed_form(self, model: SequenceModel, *, at_cut: bool) -> None:
        """Let closed forms learn what was known when validation began, or at the cut."""
        if model.closed_form.parts:
            past = self.dataset.past(self.params, at_cut=at_cut)
            learn_closed_form(model.closed_form, past, self.params)

    def validate(self, model: SequenceModel) -> dict[str, float]:
        """Return nDCG@10 and slate AUC on the validation period."""
        histories, shown = self.dataset.histories, self.shown
        asking_QD = encode(model, histories, self.asked.windows)
        found = {NDCG: self.asked.ndcg(asking_QD, item_vectors(model), placed(model))}
        if shown is None or not shown.is_check_R.any():
            return found
        slates = shown.sample(MOST_CHECKED)
        auc = _auc(rank_requests(model, histories, slates).logit_RMT, slates)
        return found if auc is None else {**found, AUC: auc}

    def examples(self, *, refit: bool) -> Examples:
        """Return what is learnt from: what lies before validation, or with it."""
        histories, shown, slates = self.dataset.histories, self.shown, None
        if shown:
            known_U, chosen_R = histories.until(VALIDATION), refit | ~shown.is_check_R
            slates = shown.slates.by_history(
                histories.first_U1, known_U, chosen_R, histories.folder
            )
        stop_U, action_T = histories.learnt_until(refit=refit), action_codes(self.params.targets)
        return Examples(histories, stop_U, action_T, slates)

    def tables(self, *, refit: bool) -> ItemTables:
        """Return what the model is told of items, as it is at the end of the examples."""
        world, tables = self.dataset, ItemTables(self.dataset.codes_VC, self.dataset.edge_VV)
        if not isinstance(self.shape.item_input, OwnShareSettings):
            return tables
        histories, action_T = world.histories, action_codes(self.params.targets)
        stop_U = histories.learnt_until(refit=refit)
        target_N = histories.within(histories.first_U1[:-1], stop_U, action_T)
        maturity_VF = maturity(
            world.catalogue,
            world.split,
            histories.first_moment(),
            world.log.slates if world.log else None,
            np.bincount(histories.item_E[target_N], minlength=len(world.catalogue.from_V)),
            refit=refit,
        )
        return replace(tables, maturity_VF=maturity_VF)

    def _calibrated(self, trained: Trained) -> Trained:
        """Measure level and spread of the log odds, so that served scores have a common scale."""
        model = trained.model
        if model.rank is not None and self.shown is not None:
            slates = self.shown.sample(MOST_CHECKED)
            logit_RMT = rank_requests(model, self.dataset.histories, slates).logit_RMT
            model.rank.calibrate(torch.from_numpy(logit_RMT[slates.item_RM > 0]))
        return trained


def fit(
    kind: Literal["hstu", "sasrec"], dataset: Dataset, params: ModelParams, scratch: Path | None
) -> Trained:
    """Train one model with early stopping; with `refit`, once more on all that is known."""
    task = pose(kind, dataset, params)
    first = task.mixed(task.search(scratch))
    if not params.refit:
        task.learn_closed_form(first.model, at_cut=True)
        return first
    return task.again(first, scratch)


def pose(kind: Literal["hstu", "sasrec"], dataset: Dataset, params: ModelParams) -> Task:
    """Choose shape and slates of a model, and ask the question of its validation."""
    shown = _shown(dataset.log, params) if kind == "hstu" else None
    dataset = dataset if kind == "hstu" else replace(dataset, edge_VV=None)
    names = shown.names if shown else None
    shape = choose_shape(kind, dataset.sizes(), dataset.split, params, names)
    return Task(dataset, params, shape, shown, dataset.ask(VALIDATION, params))


def _shown(log: Log | None, params: ModelParams) -> Shown | None:
    """Return the slates with a known answer; None without any, or if none are wanted."""
    if log is None or not params.rank_weight:
        return None
    learn_R, check_R, _ = log.matured
    if not learn_R.any():
        return None
    names, slates = log.examples(learn_R | check_R, params.features)
    return Shown(names, slates, check_R[learn_R | check_R])


def _auc(logit_RMT: Float32s, slates: Slates) -> float | None:
    """Return the slate AUC of clicks and purchases together; None if it cannot be told."""
    score_RM = answered_logit(torch.from_numpy(logit_RMT)).numpy()
    answered_RM = slates.label_RMT[..., [CLICK, BUY]].max(axis=-1)
    auc = slate_auc(score_RM, answered_RM, slates.item_RM > 0)
    return None if np.isnan(auc) else auc
