"""The trunk's training: next items, beside them ranking and hidden actions; resumed after a kill.

Legend: E events, U users, N targets, W windows or warm items, B sequences, L positions, V items
with padding first, C code levels, F facts, D width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from tessera.contracts.arrays import Float32s
from tessera.contracts.errors import BadInput
from tessera.model.nn.device import chosen_device, device_of, moved
from tessera.model.nn.forcing import softness_at
from tessera.model.nn.item_trie import item_trie
from tessera.model.nn.own_share import WeighedCodewords
from tessera.model.params import TrainingParams
from tessera.model.sequences.slates import Slates
from tessera.model.sequences.windows import Windows, shuffled_batches
from tessera.model.trainer import loop, parallel
from tessera.model.trainer.checkpoint import Checkpoint, Run, TrainingState
from tessera.model.trainer.seeds import seeded
from tessera.model.training.compiled import compile_layers
from tessera.model.training.curves import AUC, NDCG
from tessera.model.training.examples import BatchBuilder, Examples
from tessera.model.training.objective import Lesson, batch_loss
from tessera.model.trunk.model import SequenceModel, Shape

_IRRELEVANT = {"device", "compile", "refit", "profit_weight", "beams"}
"""Params that do not decide the weights: where they are learnt, and what happens to them later."""
Validate = loop.Validate[SequenceModel]


@dataclass(frozen=True, slots=True)
class Trained:
    """A model with its best weights, and how it got there."""

    model: SequenceModel
    state: TrainingState
    mixed_ndcg: float | None = None
    """Validation nDCG@10 with closed forms beside the trunk; None where none were mixed in."""

    def figures(self) -> dict[str, float]:
        """Return what is worth tracking about the run."""
        state = self.state
        ndcg = state.best(NDCG) if self.mixed_ndcg is None else self.mixed_ndcg
        return {
            "epochs": float(state.epoch),
            "best_epoch": float(state.best_epoch),
            "loss": state.losses[-1] if state.losses else 0.0,
            "validation_ndcg_at_10": ndcg,
            **({"validation_auc": state.best(AUC)} if AUC in state.measures else {}),
            "stopped_on_nan": float(state.broken),
        }


@dataclass(frozen=True, slots=True)
class ItemTables:
    """What a model is told of items, and learns nothing of."""

    codes_VC: Tensor
    edge_VV: Tensor | None = None
    """What attention is told of pairs of items, see `edges`; None tells nothing."""
    maturity_VF: Float32s | None = None
    """What the item input is told of items, see `maturity`; None tells nothing."""

    def beside_codes(self) -> tuple[NDArray[Any], ...]:
        """Return every other array that there is, in order."""
        edges = () if self.edge_VV is None else (self.edge_VV.cpu().numpy(),)
        return edges if self.maturity_VF is None else (*edges, self.maturity_VF)


def train(
    shape: Shape,
    tables: ItemTables,
    examples: Examples,
    validate: Validate | None,
    params: TrainingParams,
    checkpoints: Path | None,
) -> Trained:
    """Train from scratch, or from the checkpoint of the same data and params.

    Parameters
    ----------
    shape, tables
        What to build.
    examples
        What to learn from.
    validate
        nDCG@10 of a model, and its slate AUC if it ranks; None trains all epochs and keeps the last
        weights.
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
        warm_W = examples.warm_W()
        model = _built(shape, tables, warm_W, examples.slates).to(device)
        if params.compile:
            compile_layers(model)
        adamw = loop.adamw(model, params.learning_rate, params.weight_decay, betas=(0.9, 0.98))
        windows = len(examples.windows(shape.length, np.random.default_rng(params.seed)))
        learnt_from = (*examples.arrays(), *tables.beside_codes())
        run = Run(model, adamw, _mean(model, windows, params))
        rules = loop.Rules(
            epochs=params.epochs,
            patience=params.patience,
            pretrain=params.pretrain_epochs if examples.slates is not None else 0,
            clip_norm=params.clip_norm,
            seed=params.seed,
            checkpoint=_checkpoint(model, learnt_from, bool(validate), params, checkpoints),
        )
        objective = _NextItem(examples, params, model, warm_W.to(device))
        state = loop.train(shape.kind, run, objective, rules, validate)
    return Trained(model, state)


def _built(
    shape: Shape, tables: ItemTables, warm_W: Tensor, slates: Slates | None
) -> SequenceModel:
    warm_V = torch.zeros(shape.items, dtype=torch.bool)
    warm_V[warm_W] = True
    model = SequenceModel(shape, tables.codes_VC, warm_V, tables.edge_VV)
    if model.rank is not None and slates is not None:
        model.rank.standardise(slates.shown_features)
    if isinstance(model.item_input, WeighedCodewords) and tables.maturity_VF is not None:
        model.item_input.tell(torch.from_numpy(tables.maturity_VF), warm_W)
    return model


def _mean(model: SequenceModel, windows: int, params: TrainingParams) -> AveragedModel | None:
    """Return the running mean of the weights, its memory in epochs of so many windows."""
    if not params.average_epochs:
        return None
    return loop.running_mean(model, max(1.0, params.average_epochs * windows / params.batch))


class _NextItem:
    """Windows of an epoch, and what the trunk loses on some of them."""

    def __init__(
        self, examples: Examples, params: TrainingParams, model: SequenceModel, warm_W: Tensor
    ) -> None:
        self._examples, self._params = examples, params
        self._device, self._length = device_of(model), model.shape.length
        self._warm_W = warm_W
        self._decoder = model.decoder
        self._trie = item_trie(model.codes_VC, warm_W) if model.decoder is not None else None
        self._builder: BatchBuilder

    def batches(self, epoch: int) -> Sequence[list[Windows]]:
        """Cut histories into windows of similar length, in random order; return its own parts."""
        params, examples = self._params, self._examples
        rng = np.random.default_rng([params.seed, epoch])
        if self._decoder is not None:
            self._decoder.softness = softness_at(params.soft_forcing, epoch, params.epochs)
        if epoch < params.pretrain_epochs:
            examples = replace(examples, slates=None)
        if params.split_sets:
            histories = examples.histories.split_sets(params.split_sets, rng)
            examples = replace(examples, histories=histories)
        windows = examples.windows(self._length, rng)
        batches = shuffled_batches(windows, params.batch, rng)
        self._builder = examples.drawn(params.slate_share, rng)
        windows = self._builder.ask(windows)
        parts = params.batch_parts
        own = parallel.own_parts(parts)
        return [[windows.take(parallel.part_of(rows, n, parts)) for n in own] for rows in batches]

    def size(self, batch: list[Windows]) -> int:
        """Return how many events there are."""
        return sum(int((part.stop_W - part.start_W).sum()) for part in batch)

    def loss(self, model: SequenceModel, batch: list[Windows]) -> Tensor | None:
        """Return what is lost on targets and slates; None where nobody has any."""
        taught = [self._builder.lesson(part) for part in batch]
        asks = any(len(targets.item_N) or targets.asked is not None for _, targets in taught)
        if not parallel.total(torch.tensor(float(asks), device=self._device)):
            return None
        lessons = [
            Lesson(part, moved(inputs, self._device), moved(targets, self._device))
            for part, (inputs, targets) in zip(
                parallel.own_parts(self._params.batch_parts), taught, strict=True
            )
        ]
        return batch_loss(model, lessons, self._warm_W, self._params, self._trie)


def _checkpoint(
    model: SequenceModel,
    learnt_from: tuple[NDArray[Any], ...],
    judged: bool,
    params: TrainingParams,
    folder: Path | None,
) -> Checkpoint | None:
    """Hash whatever decides the weights, so that a stale checkpoint is not taken up."""
    if folder is None:
        return None
    told = params.model_dump_json(exclude=_IRRELEVANT)
    version = torch.__version__.partition("+")[0]  # behind it stands what it was built for
    facts = (told, model.shape, judged, version)
    digest = hashlib.sha256(repr(facts).encode())
    for array in (model.codes_VC.cpu().numpy(), *learnt_from):
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        digest.update(b"|")
    path = folder / f"{model.shape.kind}.safetensors"
    return Checkpoint(path, digest.hexdigest(), params.checkpoint_steps)
