"""One trainer for all that learns by gradient: epochs, clipping, mean, patience, resume.

A model says only what its batches are and what it loses on one.  A step in which something is not a
number moves no weight and ends the training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tessera.contracts.progress import Bar, progress_bar
from tessera.model.trainer import parallel
from tessera.model.trainer.checkpoint import Checkpoint, Net, Run, TrainingState
from tessera.model.trainer.pace import Pace
from tessera.model.trainer.seeds import reseed, step_seed

Part = TypeVar("Part")
_Learner = TypeVar("_Learner", contravariant=True, bound=nn.Module)


class Objective(Protocol[_Learner, Part]):
    """What a model learns from, and what it minimises."""

    def batches(self, epoch: int) -> Sequence[Part]:
        """Return the batches of an epoch, counted from 0, in their order."""

    def size(self, batch: Part) -> int:
        """Return how much is learnt from a batch: the bar shows it by second."""

    def loss(self, model: _Learner, batch: Part) -> Tensor | None:
        """Return the loss of a batch; None if none of the processes has anything to learn."""


@dataclass(frozen=True, slots=True)
class Shuffled(Generic[Net]):
    """Rows of one table, in another order each epoch."""

    rows: int
    batch: int
    """Rows in a step."""
    loss: Callable[[Net, Tensor], Tensor]
    """What a model loses on the rows of these numbers."""

    def batches(self, _epoch: int) -> Sequence[Tensor]:
        """Return the numbers of all rows in random order."""
        return torch.split(torch.randperm(self.rows), self.batch)

    def size(self, batch: Tensor) -> int:
        """Return how many rows there are."""
        return len(batch)


@dataclass(frozen=True, slots=True)
class Rules:
    """How long a run trains, and how far a step may go."""

    epochs: int
    patience: int = 1
    """Epochs without a better validation before it ends."""
    pretrain: int = 0
    """In the first epochs the first measure counts alone; the best of them is forgotten."""
    clip_norm: float | None = None
    """Norm that the gradients of a step together are cut down to; 0 or None cuts nothing."""
    seed: int | None = None
    """What each step draws from, so that a run can be resumed; None goes on drawing."""
    checkpoint: Checkpoint | None = None
    """None survives no kill."""


Validate = Callable[[Net], dict[str, float]]
"""Measures a model by name, each the better the higher; a per cent of either counts the same."""


def train(
    name: str,
    run: Run[Net],
    objective: Objective[Net, Part],
    rules: Rules,
    validate: Validate[Net] | None = None,
) -> TrainingState:
    """Train a model from where its run stands to its end; it is left with its best weights.

    Parameters
    ----------
    name
        Of what is trained, for the bar.
    run
        Model, optimiser, and the mean of the weights if one is wanted.
    objective
        What is learnt.
    rules
        For how long.
    validate
        None trains all epochs and keeps the last weights.
    """
    Trainer(run, objective, rules, validate).finish(name)
    run.model.load_state_dict(run.best or run.judged().state_dict())
    run.model.eval()
    return run.state


def adamw(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    betas: tuple[float, float] = (0.9, 0.999),
) -> torch.optim.Optimizer:
    """Return AdamW over all weights, a step in one kernel."""
    return torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=betas, weight_decay=weight_decay, fused=True
    )


def running_mean(model: nn.Module, memory: float) -> AveragedModel:
    """Return the running mean of the weights: steadier to judge than where a step happens to end.

    Its memory is so many steps, and at most a ninth of the steps so far: the first steps move the
    weights too far to be worth remembering.
    """

    @torch.no_grad()
    def blend(
        mean: tuple[Tensor, ...] | list[Tensor],
        now: tuple[Tensor, ...] | list[Tensor],
        steps: Tensor | int,
    ) -> None:
        torch._foreach_lerp_(list(mean), list(now), max(1 / memory, 9 / (10 + int(steps))))

    return AveragedModel(model, multi_avg_fn=blend)


@dataclass(frozen=True, slots=True)
class Trainer(Generic[Net, Part]):
    """One training run from wherever it stands to its end."""

    run: Run[Net]
    objective: Objective[Net, Part]
    rules: Rules
    validate: Validate[Net] | None

    def finish(self, name: str) -> None:
        """Train epoch after epoch until the last, the patience or a NaN ends it."""
        if self.rules.checkpoint:
            self.rules.checkpoint.load(self.run)
        with progress_bar(f"train {name}", self.rules.epochs) as bar:
            bar.advance(self.run.state.epoch)
            while not self._is_over():
                self._epoch(bar)
                self._close_epoch()

    def _is_over(self) -> bool:
        state, rules = self.run.state, self.rules
        since = state.epoch - max(state.best_epoch, rules.pretrain)
        tired = self.validate is not None and since >= rules.patience
        return state.broken or state.epoch >= rules.epochs or tired

    def _epoch(self, bar: Bar) -> None:
        state, checkpoint = self.run.state, self.rules.checkpoint
        batches = self.objective.batches(state.epoch)
        pace = Pace(state, bar, len(batches))
        for batch in batches[state.step :]:
            loss = self._step(batch)
            if loss is None:
                state.broken = True
                return
            state.step += 1
            state.loss_sum += loss
            pace.show(self.objective.size(batch))
            if checkpoint and state.step % checkpoint.steps == 0:
                self._save()

    def _step(self, batch: Part) -> float | None:
        """Move the weights once; None, and nothing moved, if something is not a number."""
        run, rules = self.run, self.rules
        model, state = run.model.train(), run.state
        if rules.seed is not None:
            device = next(model.parameters()).device
            reseed(step_seed(rules.seed, state.epoch, state.step), device)
        loss = self.objective.loss(model, batch)
        if loss is None:
            return 0.0
        run.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        parallel.sum_gradients(model.parameters())
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        told, length = torch.stack([parallel.total(loss.detach()), norm]).tolist()
        if not np.isfinite([told, length]).all():
            return None
        if rules.clip_norm and length > rules.clip_norm:
            torch._foreach_mul_(gradients, rules.clip_norm / length)
        run.optimizer.step()
        if run.mean:
            run.mean.update_parameters(model)
        return float(told)

    def _close_epoch(self) -> None:
        state = self.run.state
        if state.broken:
            return
        state.losses.append(state.loss_sum / max(1, state.step))
        state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
        if self.validate:
            self._judge(self.validate(self.run.judged().eval()))
        self._save()

    def _judge(self, found: dict[str, float]) -> None:
        """Keep the weights if the measures say that they are the best so far."""
        state, model, pretrain = self.run.state, self.run.judged(), self.rules.pretrain
        agreed = parallel.agreed(list(found.values()), next(model.parameters()).device)
        found = dict(zip(found, agreed, strict=True))
        for name, measure in found.items():
            state.measures.setdefault(name, []).append(measure)
        # Until then part of the model has learnt nothing, and its measure says nothing.
        counted = list(found.values())[: 1 if state.epoch <= pretrain else None]
        value, is_first = math.prod(counted), state.epoch == pretrain + 1
        if is_first or value > state.best_value:
            state.best_value, state.best_epoch = value, state.epoch
            self.run.best = {key: weight.clone() for key, weight in model.state_dict().items()}

    def _save(self) -> None:
        if self.rules.checkpoint and parallel.keeps():
            self.rules.checkpoint.save(self.run)
