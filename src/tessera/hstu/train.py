"""Next-item training: AdamW, early stopping on the validation period, resume after a kill.

Legend: E events, U users, N targets, W warm items, B sequences, L positions, D width.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tessera.contracts.errors import BadInput
from tessera.contracts.progress import Bar, progress_bar
from tessera.hstu.checkpoint import Place, Run, load_checkpoint, save_checkpoint
from tessera.hstu.histories import Bools, Histories, Ints, split_sets
from tessera.hstu.loss import draw_negatives, full_softmax, sampled_softmax
from tessera.hstu.model import SequenceModel, Shape
from tessera.hstu.params import HstuParams
from tessera.hstu.sequences import Batcher, Targets, shuffled_batches, training_windows

Validate = Callable[[SequenceModel], float]


@dataclass(frozen=True, slots=True)
class Lessons:
    """What is learnt from: each user's events up to a stop, and which of them are targets."""

    histories: Histories
    stop_U: Ints
    is_target_E: Bools

    def warm_W(self) -> Tensor:
        """Return the sorted rows of the items in the lessons; all targets are among them."""
        stop_E = np.repeat(self.stop_U, np.diff(self.histories.first_U1))
        seen_E = np.arange(len(stop_E)) < stop_E
        return torch.from_numpy(np.unique(self.histories.item_E[seen_E]))


@dataclass(frozen=True, slots=True)
class Trained:
    """A model with its best weights, and how it got there."""

    model: SequenceModel
    place: Place


def train(
    shape: Shape,
    codes_VC: Tensor,
    lessons: Lessons,
    validate: Validate | None,
    params: HstuParams,
    checkpoints: Path | None,
) -> Trained:
    """Train from scratch, or from the checkpoint of the same data and params.

    Parameters
    ----------
    shape, codes_VC
        What to build.
    lessons
        What to learn from.
    validate
        Value of a model, higher is better; None trains all epochs and keeps the last weights.
    checkpoints
        Folder that survives a kill; None keeps no checkpoint.

    Raises
    ------
    BadInput
        If there is no event to predict.
    """
    if not lessons.is_target_E.any():
        raise BadInput("no training event is a target: move the cut or widen hstu.targets")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.seed)
        warm_V = torch.zeros(shape.items, dtype=torch.bool)
        warm_V[lessons.warm_W()] = True
        model = SequenceModel(shape, codes_VC, warm_V)
        optimizer = _optimizer(model, params)
        path = checkpoints / f"{shape.kind}.safetensors" if checkpoints else None
        course = _Course(lessons, validate, params, Run(model, optimizer, Place(), {}), path)
        course.finish()
    model.load_state_dict(course.run.best or model.state_dict())
    return Trained(model.eval(), course.run.place)


def _optimizer(model: SequenceModel, params: HstuParams) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        model.parameters(),
        lr=params.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=params.weight_decay,
        fused=True,
    )


class _Course:
    """One training run from wherever it stands to its end."""

    def __init__(
        self,
        lessons: Lessons,
        validate: Validate | None,
        params: HstuParams,
        run: Run,
        path: Path | None,
    ) -> None:
        self.lessons = lessons
        self.validate = validate
        self.params = params
        self.run = run
        self.path = path
        self.warm_W = lessons.warm_W()
        self.key = self._key() if path else ""
        if path:
            load_checkpoint(run, path, self.key)

    def finish(self) -> None:
        """Train epoch after epoch until the last, the patience or a NaN ends it."""
        kind = self.run.model.shape.kind
        with progress_bar(f"train {kind}", self.params.epochs) as bar:
            bar.advance(self.run.place.epoch)
            while not self._is_over():
                self._epoch(bar)
                self._close_epoch()

    def _is_over(self) -> bool:
        place, params = self.run.place, self.params
        tired = self.validate is not None and place.epoch - place.best_epoch >= params.patience
        return place.broken or place.epoch >= params.epochs or tired

    def _epoch(self, bar: Bar) -> None:
        place, params = self.run.place, self.params
        rng = np.random.default_rng([params.seed, place.epoch])
        histories = self.lessons.histories
        if params.split_sets:
            histories = split_sets(histories, params.split_sets, rng)
        windows = training_windows(
            histories, self.lessons.stop_U, self.run.model.shape.length, rng
        )
        batcher = Batcher(histories)
        batches = shuffled_batches(windows, params.batch, rng)
        began, events = time.perf_counter(), 0
        for rows in batches[place.step :]:
            chosen = windows.take(rows)
            loss = self._step(batcher.batch(chosen), batcher.targets(chosen, self.lessons.is_target_E))
            ...
