"""Next-item training: AdamW, early stopping on the validation period, resume after a kill.

Legend: E events, U users, N targets, W warm items, B sequences, L positions, D width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from tessera.contracts.errors import BadInput
from tessera.contracts.progress import Bar, progress_bar
from tessera.model.nn import parallel
from tessera.model.nn.batch import Batch
from tessera.model.nn.device import chosen_device, device_of, moved, seeded
from tessera.model.params import HstuParams
from tessera.model.sequences.histories import split_sets
from tessera.model.sequences.windows import Targets, shuffled_batches, training_windows
from tessera.model.training.checkpoint import Run, TrainingState, load_checkpoint, save_checkpoint
from tessera.model.training.compiled import compile_layers
from tessera.model.training.examples import BatchBuilder, Examples
from tessera.model.training.objective import batch_loss
from tessera.model.training.pace import Pace
from tessera.model.trunk.model import SequenceModel, Shape


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a model is on the validation period."""

    ndcg: float
    auc: float | None = None
    """Slate AUC of the ranking head; None without one."""

    @property
    def value(self) -> float:
        """Return what early stopping maximises: a per cent of either counts the same."""
        return self.ndcg if self.auc is None else self.ndcg * self.auc


Weights = tuple[Tensor, ...] | list[Tensor]
_IRRELEVANT = {"device", "compile", "refit", "profit_weight"}
"""Params that do not decide the weights: where they are learnt, and what happens to them later."""
Validate = Callable[[SequenceModel], Quality]


@dataclass(frozen=True, slots=True)
class Trained:
    """A model with its best weights, and how it got there."""

    model: SequenceModel
    place: TrainingState

    def figures(self) -> dict[str, float]:
        """Return what is worth tracking about the run."""
        place = self.place
        return {
            "epochs": float(place.epoch),
            "best_epoch": float(place.best_epoch),
            "loss": place.losses[-1] if place.losses else 0.0,
            "validation_ndcg_at_10": max(place.best_ndcg, 0.0),
            **({"validation_auc": place.aucs[place.best_epoch - 1]} if place.aucs else {}),
            "stopped_on_nan": float(place.broken),
        }


def train(
    shape: Shape,
    codes_VC: Tensor,
    examples: Examples,
    validate: Validate | None,
    params: HstuParams,
    checkpoints: Path | None,
) -> Trained:
    """Train from scratch, or from the checkpoint of the same data and params.

    Parameters
    ----------
    shape, codes_VC
        What to build.
    examples
        What to learn from.
    validate
        Quality of a model; None trains all epochs and keeps the last weights.
    checkpoints
        Folder that survives a kill; None keeps no checkpoint.

    Raises
    ------
    BadInput
        If there is no event to predict.
    """
    if not examples.any_target():
        raise BadInput("no training event is a target: move the cut or widen hstu.targets")
    device = chosen_device(params.device)
    with seeded(params.seed, device):
        warm_V = torch.zeros(shape.items, dtype=torch.bool)
        warm_V[examples.warm_W()] = True
        model = SequenceModel(shape, codes_VC, warm_V, examples.edge_VV)
        if model.rank is not None and examples.slates is not None:
            model.rank.standardise(examples.slates.shown_features)
        model = model.to(device)
        if params.compile:
            compile_layers(model)
        optimizer = _optimizer(model, params)
        path = checkpoints / f"{shape.kind}.safetensors" if checkpoints else None
        run = Run(model, optimizer, TrainingState(), {}, _mean(model, examples, params))
        _Trainer(examples, validate, params, run, path).finish()
    model.load_state_dict(run.best or run.judged().state_dict())
    return Trained(model.eval(), run.place)


def _mean(model: SequenceModel, examples: Examples, params: HstuParams) -> AveragedModel | None:
    """Return the running mean of the weights: steadier to judge than where a step happens to end.

    Its memory is `average_epochs`, and at most a ninth of the steps so far: the first steps move
    the weights too far to be worth remembering.
    """
    if not params.average_epochs:
        return None
    rng = np.random.default_rng(params.seed)
    length = model.shape.length
    windows = len(training_windows(examples.histories, examples.stop_U, length, rng))
    memory = max(1.0, params.average_epochs * windows / params.batch)

    @torch.no_grad()
    def blend(mean: Weights, now: Weights, steps: Tensor | int) -> None:
        torch._foreach_lerp_(list(mean), list(now), max(1 / memory, 9 / (10 + int(steps))))

    return AveragedModel(model, multi_avg_fn=blend)


def _optimizer(model: SequenceModel, params: HstuParams) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        model.parameters(),
        lr=params.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=params.weight_decay,
        fused=True,
    )


class _Trainer:
    """One training run from wherever it stands to its end."""

    def __init__(
        self,
        examples: Examples,
        validate: Validate | None,
        params: HstuParams,
        run: Run,
        path: Path | None,
    ) -> None:
        self.examples = examples
        self.validate = validate
        self.params = params
        self.run = run
        self.path = path
        self.device = device_of(run.model)
        self.warm_W = examples.warm_W().to(self.device)
        self.pretrain = params.pretrain_epochs if examples.slates is not None else 0
        self.key = self._key() if path else ""
        if path:
            load_checkpoint(run, path, self.key)
            parallel.wait()  # before one of them writes

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
        since = place.epoch - max(place.best_epoch, self.pretrain)
        tired = self.validate is not None and since >= params.patience
        return place.broken or place.epoch >= params.epochs or tired

    def _epoch(self, bar: Bar) -> None:
        place, params = self.run.place, self.params
        rng = np.random.default_rng([params.seed, place.epoch])
        examples = self.examples
        if place.epoch < self.pretrain:
            examples = replace(examples, slates=None)
        if params.split_sets:
            histories = split_sets(examples.histories, params.split_sets, rng)
            examples = replace(examples, histories=histories)
        length = self.run.model.shape.length
        windows = training_windows(examples.histories, examples.stop_U, length, rng)
        batches = shuffled_batches(windows, params.batch, rng)
        teacher = BatchBuilder(examples, params.slate_share, rng)
        windows = teacher.ask(windows)
        pace = Pace(place, bar, len(batches))
        for rows in batches[place.step :]:
            chosen = windows.take(parallel.own(rows))
            loss = self._step(*teacher.lesson(chosen))
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
        asks = bool(len(targets.item_N)) or targets.asked is not None
        if not parallel.total(torch.tensor(float(asks), device=self.device)):
            return 0.0
        batch, targets = moved(batch, self.device), moved(targets, self.device)
        model, place, params = self.run.model.train(), self.run.place, self.params
        torch.manual_seed(_step_seed(params.seed, place) + parallel.number())
        loss = batch_loss(model, batch, targets, self.warm_W, params)
        self.run.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        parallel.sum_gradients(model.parameters())
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        told, length = torch.stack([parallel.total(loss.detach()), norm]).tolist()
        if not np.isfinite([told, length]).all():
            return None
        if params.clip_norm and length > params.clip_norm:
            torch._foreach_mul_(gradients, params.clip_norm / length)
        self.run.optimizer.step()
        if self.run.mean:
            self.run.mean.update_parameters(model)
        return float(told)

    def _close_epoch(self) -> None:
        place, model = self.run.place, self.run.judged()
        if place.broken:
            return
        place.losses.append(place.loss_sum / max(1, place.step))
        place.epoch, place.step, place.loss_sum = place.epoch + 1, 0, 0.0
        if self.validate:
            quality = self.validate(model.eval())
            known = [quality.ndcg] if quality.auc is None else [quality.ndcg, quality.auc]
            quality = Quality(*parallel.agreed(known, self.device))
            place.ndcgs.append(quality.ndcg)
            place.aucs += [] if quality.auc is None else [quality.auc]
            if place.epoch <= self.pretrain:  # the head has learnt nothing yet
                quality = replace(quality, auc=None)
            is_first = place.epoch == self.pretrain + 1  # values before it lack the AUC
            if is_first or quality.value > place.best_value:
                place.best_value, place.best_ndcg = quality.value, quality.ndcg
                place.best_epoch = place.epoch
                self.run.best = {k: v.clone() for k, v in model.state_dict().items()}
        self._save()

    def _save(self) -> None:
        if self.path and parallel.number() == 0:
            save_checkpoint(self.run, self.path, self.key)

    def _key(self) -> str:
        """Hash whatever decides the weights, so that a stale checkpoint is not taken up."""
        histories, model = self.examples.histories, self.run.model
        params = self.params.model_dump_json(exclude=_IRRELEVANT)
        version = torch.__version__.partition("+")[0]  # behind it stands what it was built for
        facts = (params, model.shape, self.validate is None, version, parallel.processes())
        digest = hashlib.sha256(repr(facts).encode())
        arrays = (
            self.examples.stop_U,
            self.examples.action_T,
            histories.item_E,
            histories.action_E,
            histories.moment_E,
            histories.group_E,
            histories.phase_E,
            model.codes_VC.cpu().numpy(),
            *(self.examples.slates.arrays() if self.examples.slates else ()),
            *(() if model.edge_VV is None else (model.edge_VV.cpu().numpy(),)),
        )
        for array in arrays:
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            digest.update(b"|")
        return digest.hexdigest()


def _step_seed(seed: int, place: TrainingState) -> int:
    words = np.random.SeedSequence([seed, place.epoch, place.step]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))
