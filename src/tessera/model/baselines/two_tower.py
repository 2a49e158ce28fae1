"""Two towers under an in-batch softmax with logQ correction: the plain retriever beside the trunk.

The user tower is a net over the mean of the items of the history, whatever the actions and times;
the item tower is an id and its codes.  The other targets of a batch are the negatives: an item is
one as often as it is popular, and subtracting log Q undoes that (`in_batch`; Yi et al. 2019).

Legend: E events, F events of windows laid end to end, N targets, W windows, V items with padding
first, D width.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera.contracts.arrays import Bools, Float32s, Ints
from tessera.contracts.split import TEST, VALIDATION
from tessera.model.nn.device import chosen_device, device_of
from tessera.model.nn.in_batch import BATCH, Chosen, in_batch_softmax, log_chance
from tessera.model.nn.loss import draw_negatives
from tessera.model.params import BudgetParams
from tessera.model.sequences.dataset import Dataset
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.questions import action_codes
from tessera.model.sequences.windows import Windows, last_windows
from tessera.model.trainer import loop
from tessera.model.trainer.checkpoint import Run, TrainingState
from tessera.model.trainer.seeds import seeded
from tessera.model.training.curves import NDCG, write_training
from tessera.model.training.examples import Examples

NAME = "two_tower"
LEAST_EPOCHS, ENOUGH_STEPS = 3, 400
"""Training ends after so many epochs and steps even if it would still gain a little."""
_INIT_STD = 0.02
_ENCODE_BATCH = 4096


class TwoTower(nn.Module):
    """Item vectors, and a net that makes a user of the mean of some."""

    codes_VC: Tensor
    warm_V: Tensor

    def __init__(self, codes_VC: Tensor, warm_V: Tensor, params: BudgetParams) -> None:
        super().__init__()
        self.id_dropout = params.id_dropout
        self.register_buffer("codes_VC", codes_VC)
        self.register_buffer("warm_V", warm_V)
        width = params.width
        self.item_VD = nn.Parameter(torch.empty(len(warm_V), width).normal_(0, _INIT_STD))
        sizes = [int(level_V.max()) + 1 for level_V in codes_VC.T]
        self.codewords = nn.ParameterList(
            nn.Parameter(torch.empty(size, width).normal_(0, _INIT_STD)) for size in sizes
        )
        self.start_D = nn.Parameter(torch.empty(width).normal_(0, _INIT_STD))
        self.user = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.SiLU(),
            nn.Dropout(params.dropout),
            nn.Linear(2 * width, width),
        )

    def items(self) -> Tensor:
        """Return unit item_VD; an item that no lesson has seen is its codes alone."""
        keep_V = self.warm_V
        if self.training:
            keep_V = keep_V & (torch.rand(len(keep_V), device=keep_V.device) >= self.id_dropout)
        item_VD = self.item_VD * keep_V[:, None]
        for level, codeword_KD in enumerate(self.codewords):
            item_VD = item_VD + functional.embedding(self.codes_VC[:, level], codeword_KD)
        return functional.normalize(item_VD, dim=-1)

    def placed_V(self) -> Tensor:
        """Return which items have a place in the space: seen while training, or with a code."""
        return self.warm_V | self.codes_VC.bool().any(1)

    def forward(self, item_VD: Tensor, item_F: Tensor, first_W: Tensor) -> Tensor:
        """Return unit state_WD of histories that lie one after the other, some perhaps empty."""
        mean_WD = functional.embedding_bag(item_F, item_VD, first_W, mode="mean")
        size_W = torch.diff(first_W, append=first_W.new_tensor([len(item_F)]))
        mean_WD = torch.where(size_W[:, None] > 0, mean_WD, self.start_D)
        return functional.normalize(mean_WD + self.user(mean_WD), dim=-1)


def before_targets(examples: Examples, length: int) -> tuple[Ints, Windows]:
    """Return the events to predict, and the window strictly before each."""
    histories = examples.histories
    first_U = histories.first_U1[:-1]
    event_N = histories.within(first_U, examples.stop_U, examples.action_T)
    first_N = histories.first_U1[histories.user_E[event_N]]
    return event_N, last_windows(
        first_N, histories.starts(event_N), histories.second(event_N), length
    )


def _flat(histories: Histories, windows: Windows, device: torch.device) -> tuple[Tensor, Tensor]:
    """Lay the items of windows one after the other; return them and where each begins."""
    size_W = windows.stop_W - windows.start_W
    first_W = np.cumsum(size_W) - size_W
    at_F = np.arange(size_W.sum()) + np.repeat(windows.start_W - first_W, size_W)
    item_F = torch.from_numpy(histories.item_E[at_F]).to(device)
    return item_F, torch.from_numpy(first_W).to(device)


def encode_users(model: TwoTower, histories: Histories, windows: Windows) -> Float32s:
    """Return unit state_WD at the end of each window."""
    device = device_of(model)
    with torch.inference_mode():
        item_VD = model.items()
        parts = [
            model(item_VD, *_flat(histories, windows.take(rows), device)).cpu().numpy()
            for rows in _runs(np.arange(len(windows)), _ENCODE_BATCH)
        ]
    return np.concatenate(parts) if parts else np.empty((0, item_VD.shape[1]), np.float32)


def _runs(rows: Ints, size: int) -> list[Ints]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def fit_two_tower(
    dataset: Dataset, params: BudgetParams, *, corrected: bool = True
) -> tuple[TwoTower, TrainingState]:
    """Train with early stopping; with `refit`, once more on all that is known.

    `corrected` is false only to show what log Q is for.
    """
    validate = _validation(dataset, params)
    first = _Targets(dataset, params, refit=False, corrected=corrected)
    model, state = _train(first, dataset, params, min(params.epochs, first.most_epochs()), validate)
    if params.refit:
        every = _Targets(dataset, params, refit=True, corrected=corrected)
        model, _ = _train(every, dataset, params, state.best_epoch or state.epoch, None)
    return model, state


def _train(
    targets: _Targets,
    dataset: Dataset,
    params: BudgetParams,
    epochs: int,
    validate: loop.Validate[TwoTower] | None,
) -> tuple[TwoTower, TrainingState]:
    """Return the model that validates best, the last one if nobody can be asked."""
    device = chosen_device(params.device)
    with seeded(params.seed, device):
        warm_V = torch.zeros(len(dataset.codes_VC), dtype=torch.bool)
        warm_V[targets.warm_W.cpu()] = True
        model = TwoTower(dataset.codes_VC, warm_V, params).to(device)
        run = Run(model, loop.adamw(model, params.learning_rate, params.weight_decay))
        rules = loop.Rules(epochs, params.patience)
        shuffled = loop.Shuffled(len(targets), BATCH, targets.loss)
        return model, loop.train(NAME, run, shuffled, rules, validate)


class _Targets:
    """The targets before the validation period, or with it, each with the window before it."""

    def __init__(
        self, dataset: Dataset, params: BudgetParams, *, refit: bool, corrected: bool
    ) -> None:
        examples = Examples(
            dataset.histories,
            dataset.histories.learnt_until(refit=refit),
            action_codes(params.targets),
        )
        self._params, self._histories = params, dataset.histories
        self._device = chosen_device(params.device)
        self._event_N, self._windows = before_targets(examples, params.length)
        warm_W = examples.warm_W()
        item_N, items = dataset.histories.item_E[self._event_N], len(dataset.codes_VC)
        log_q_V = log_chance(item_N, warm_W.numpy(), items, params.negatives)
        self.warm_W, self._log_q_V = warm_W.to(self._device), log_q_V.to(self._device)
        if not corrected:
            self._log_q_V = torch.zeros_like(self._log_q_V)

    def most_epochs(self) -> int:
        """Return after how many epochs a model has surely seen enough."""
        return max(LEAST_EPOCHS, -(-ENOUGH_STEPS * BATCH // len(self)))

    def __len__(self) -> int:
        return len(self._event_N)

    def loss(self, model: TwoTower, rows: Tensor) -> Tensor:
        """Return what is lost on some targets, each beside the others."""
        item_VD, device, histories = model.items(), self._device, self._histories
        event_N, windows = self._event_N[rows.numpy()], self._windows.take(rows.numpy())
        chosen = Chosen(
            torch.from_numpy(histories.item_E[event_N]).to(device),
            torch.from_numpy(histories.user_E[event_N]).to(device),
            draw_negatives(self.warm_W, 1, self._params.negatives)[0],
        )
        state_ND = model(item_VD, *_flat(histories, windows, device))
        temperature = self._params.temperature
        return in_batch_softmax(state_ND, item_VD, chosen, self._log_q_V, temperature)


def _validation(dataset: Dataset, params: BudgetParams) -> loop.Validate[TwoTower] | None:
    """Return nDCG@10 on the validation period, as for the other models; None without users."""
    asked = dataset.ask(VALIDATION, params)
    if not asked.has_answer():
        return None

    def validate(model: TwoTower) -> dict[str, float]:
        asking_QD = encode_users(model, dataset.histories, asked.windows)
        return {NDCG: asked.ndcg(asking_QD, *published(model))}

    return validate


def published(model: TwoTower) -> tuple[Float32s, Bools]:
    """Return unit item_VD, and which items have a place."""
    with torch.inference_mode():
        item_VD: Float32s = model.items().cpu().numpy()
        placed_V: Bools = model.placed_V().cpu().numpy()
    return item_VD, placed_V


def list_two_tower(
    dataset: Dataset, params: BudgetParams, training: Path
) -> tuple[pa.Table, dict[str, float]]:
    """Train it, write its curve, and return its rows of `lists` and its figures."""
    model, state = fit_two_tower(dataset, params)
    write_training(state, NAME, training)

    asked = dataset.ask(TEST, params)
    state_QD = encode_users(model, dataset.histories, asked.windows)
    figures = {
        f"{NAME}_epochs": float(state.epoch),
        f"{NAME}_best_epoch": float(state.best_epoch or state.epoch),
        f"{NAME}_validation_ndcg_at_10": state.best(NDCG),
    }
    lists = asked.lists(state_QD, *published(model), params.top)
    return dataset.listed(NAME, asked, lists), figures
