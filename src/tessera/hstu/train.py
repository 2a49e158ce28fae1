"""Next-item training: AdamW, early stopping on the validation period, resume after a kill.

Legend: E events, U users, N targets, W warm items, B sequences, L positions, D width.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tessera.contracts.errors import BadInput
from tessera.contracts.progress import Bar, progress_bar
from tessera.hstu.checkpoint import Place, Run, load_checkpoint, save_checkpoint
from tessera.hstu.histories import Bools, Histories, Ints, split_sets
from tessera.hstu.loss import draw_negatives, full_softmax, sampled_softmax
from tessera.hstu.model import Batch, SequenceModel, Shape, states_at
from tessera.hstu.params import HstuParams
from tessera.hstu.sequences import Batcher, Targets, shuffled_batches, training_windows

Validate = Callable[[SequenceModel], float]


@dataclass(frozen=True, slots=True)
class Lessons:
    """What is learnt from: each user's events up to a stop, and the actions worth predicting."""

    histories: Histories
    stop_U: Ints
    action_T: Ints

    def is_inside_E(self) -> Bools:
        """Return which events may be learnt from."""
        stop_E = np.repeat(self.stop_U, np.diff(self.histories.first_U1))
        return np.arange(len(stop_E)) < stop_E

    def is_target_E(self) -> Bools:
        """Return which events are to be predicted."""
        return self.is_inside_E() & np.isin(self.histories.action_E, self.action_T)

    def warm_W(self) -> Tensor:
        """Return the sorted rows of the items in the lessons; all targets are among them."""
        return torch.from_numpy(np.unique(self.histories.item_E[self.is_inside_E()]))


@dataclass(frozen=True, slots=True)
class Trained:
    """A model with its best weights, and how it got there."""

    model: SequenceModel
    place: Place

    def figures(self) -> dict[str, float]:
        """Return what is worth tracking about the run."""
        place = self.place
        return {
            "epochs": float(place.epoch),
            "best_epoch": float(place.best_epoch),
            "loss": place.losses[-1] if place.losses else 0.0,
            "validation_ndcg_at_10": max(place.best_ndcg, 0.0),
            "stopped_on_nan": float(place.broken),
        }


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
    if not lessons.is_target_E().any():
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
        lessons = self.lessons
        if params.split_sets:
            histories = split_sets(lessons.histories, params.split_sets, rng)
            lessons = replace(lessons, histories=histories)
        length = self.run.model.shape.length
        windows = training_windows(lessons.histories, lessons.stop_U, length, rng)
        batches = shuffled_batches(windows, params.batch, rng)
        batcher, is_target_E = Batcher(lessons.histories), lessons.is_target_E()
        pace = _Pace(place, bar, len(batches))
        for rows in batches[place.step :]:
            chosen = windows.take(rows)
            loss = self._step(batcher.batch(chosen), batcher.targets(chosen, is_target_E))
            if loss is None:
                place.broken = True
                return
            place.step += 1
            place.loss_sum += loss
            pace.show(int((chosen.stop_W - chosen.start_W).sum()))
            if place.step % params.checkpoint_steps == 0:
                self._save()

    def _step(self, batch: Batch, targets: Targets) -> float | None:
        """Move the weights once; None, and nothing moved, if something is not a number."""
        if not len(targets.item_N):
            return 0.0
        model, place, params = self.run.model.train(), self.run.place, self.params
        torch.manual_seed(_step_seed(params.seed, place))
        loss = batch_loss(model, batch, targets, self.warm_W, params)
        self.run.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        if not torch.nn.utils.get_total_norm([loss.detach(), *gradients]).isfinite():
            return None
        self.run.optimizer.step()
        return loss.item()

    def _close_epoch(self) -> None:
        place, model = self.run.place, self.run.model
        if place.broken:
            return
        place.losses.append(place.loss_sum / max(1, place.step))
        place.epoch, place.step, place.loss_sum = place.epoch + 1, 0, 0.0
        if self.validate:
            place.ndcgs.append(self.validate(model.eval()))
            if place.ndcgs[-1] > place.best_ndcg:
                place.best_ndcg, place.best_epoch = place.ndcgs[-1], place.epoch
                self.run.best = {k: v.clone() for k, v in model.state_dict().items()}
        self._save()

    def _save(self) -> None:
        if self.path:
            save_checkpoint(self.run, self.path, self.key)

    def _key(self) -> str:
        """Hash whatever decides the weights, so that a stale checkpoint is not taken up."""
        histories, model = self.lessons.histories, self.run.model
        digest = hashlib.sha256(self.params.model_dump_json().encode())
        digest.update(repr((model.shape, self.validate is None, torch.__version__)).encode())
        arrays = (
            self.lessons.stop_U,
            self.lessons.action_T,
            histories.item_E,
            histories.action_E,
            histories.moment_E,
            histories.group_E,
            histories.phase_E,
            model.codes_VC.numpy(),
        )
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes() + b"|")
        return digest.hexdigest()


class _Pace:
    """Moves the bar and shows loss and events a second behind it."""

    def __init__(self, place: Place, bar: Bar, steps: int) -> None:
        self._place, self._bar, self._steps = place, bar, steps
        self._began_s, self._events = time.perf_counter(), 0

    def show(self, events: int) -> None:
        """Count one more step of so many events."""
        self._events += events
        speed = self._events / (time.perf_counter() - self._began_s)
        loss = self._place.loss_sum / self._place.step
        self._bar.advance(1 / self._steps)
        self._bar.note(f"loss {loss:.3f}, {speed:,.0f} events/s")


def _step_seed(seed: int, place: Place) -> int:
    words = np.random.SeedSequence([seed, place.epoch, place.step]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def batch_loss(
    model: SequenceModel, batch: Batch, targets: Targets, warm_W: Tensor, params: HstuParams
) -> Tensor:
    """Return the mean loss of a batch: full softmax on a small catalogue, else sampled."""
    item_VD = model.items()
    state_ND = states_at(model, model(batch, item_VD), targets.sequence_N, targets.state_N)
    temperature = params.temperature
    if len(warm_W) <= params.full_softmax_items:
        return full_softmax(state_ND, item_VD, targets.item_N, warm_W, temperature)
    negative_NM = draw_negatives(warm_W, len(targets.item_N), params.negatives)
    return sampled_softmax(state_ND, item_VD, targets.item_N, negative_NM, temperature)
