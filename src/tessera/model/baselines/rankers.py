"""DLRM and Wide & Deep on the slates of the ranking head, so that it stands beside its rivals.

They learn from the same slates, labels and features over the same periods, and are judged on the
same pairs.  They know no history but what the features say of it.  Naumov et al. 2019, "Deep
Learning Recommendation Model", arXiv 1906.00091; Cheng et al. 2016, "Wide & Deep Learning", arXiv
1606.07792.  Their probability of a click is calibrated on the validation rows: Zadrozny and Elkan
2002, "Transforming Classifier Scores into Accurate Multiclass Probability Estimates".

Legend: S shown rows, F features, K fields, D width, T tasks, P positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import torch
from sklearn.isotonic import IsotonicRegression
from torch import Tensor, nn

from tessera.contracts.arrays import Float64s
from tessera.model.nn.cross_entropy import rank_loss
from tessera.model.nn.device import CPU
from tessera.model.nn.ranking import CLICK, POSITIONS, TASKS, RankingLabels
from tessera.model.params import BudgetParams
from tessera.model.trainer import loop
from tessera.model.trainer.checkpoint import Run
from tessera.model.trainer.seeds import seeded

Kind = Literal["dlrm", "wide_deep"]
KINDS: tuple[Kind, ...] = ("dlrm", "wide_deep")
WIDTH, HIDDEN = 8, 32
EPOCHS, BATCH = 6, 2048
"""Most passes; training stops after the first that validation is not the better for."""
_EPS = 1e-6
_FAR = 5.0
"""Standardised features are cut here, as in the ranking head."""
_INIT_STD = 0.05


@dataclass(frozen=True, slots=True)
class Rows:
    """Shown items with what came of them."""

    feature_SF: Tensor
    """NaN where unknown."""
    field_SK: Tensor
    """Number of the investor's segment, the item and its category; 0 where unknown."""
    position_S: Tensor
    """1 at the top."""
    label_ST: Tensor
    weight_ST: Tensor
    """0 where the answer is not known."""

    def __len__(self) -> int:
        return len(self.position_S)

    def take(self, rows: Tensor) -> Rows:
        """Return the chosen rows."""
        return Rows(*(part.index_select(0, rows) for part in self.parts()))

    def joined(self, more: Rows) -> Rows:
        """Return these rows with more behind them."""
        both = zip(self.parts(), more.parts(), strict=True)
        return Rows(*(torch.cat(pair) for pair in both))

    def parts(self) -> tuple[Tensor, ...]:
        """Return every tensor, in order."""
        return self.feature_SF, self.field_SK, self.position_S, self.label_ST, self.weight_ST

    def answers(self) -> RankingLabels:
        """Return what the ranking loss compares logits with."""
        return RankingLabels(self.label_ST[:, None], self.weight_ST[:, None])


class Dlrm(nn.Module):
    """Fields and dense features as vectors, the dots of all pairs, one net on top."""

    def __init__(self, features: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.bottom = nn.Sequential(
            nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH)
        )
        self.fields = nn.ModuleList(_embedding(size, WIDTH, size**-0.5) for size in sizes)
        pairs = (len(sizes) + 1) * len(sizes) // 2
        self.top = nn.Sequential(
            nn.Linear(WIDTH + pairs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, len(TASKS))
        )

    def forward(self, feature_SF: Tensor, field_SK: Tensor) -> Tensor:
        """Return logit_ST."""
        dense_SD = self.bottom(feature_SF)
        part_SD = [dense_SD, *(table(field_SK[:, k]) for k, table in enumerate(self.fields))]
        dots = [
            (one_SD * two_SD).sum(-1, keepdim=True) for one_SD, two_SD in combinations(part_SD, 2)
        ]
        logit_ST: Tensor = self.top(torch.cat([dense_SD, *dots], dim=-1))
        return logit_ST


class WideDeep(nn.Module):
    """A linear model with crosses of the first field, which remembers, and a net beside it."""

    def __init__(self, features: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.linear = nn.Linear(features, len(TASKS))
        self.weights = nn.ModuleList(_embedding(size, len(TASKS), 0.0) for size in sizes)
        crossed = (sizes[0] * size for size in sizes[1:])
        self.crosses = nn.ModuleList(_embedding(size, len(TASKS), 0.0) for size in crossed)
        self.sizes = sizes
        self.fields = nn.ModuleList(_embedding(size, WIDTH, _INIT_STD) for size in sizes)
        self.deep = nn.Sequential(
            nn.Linear(features + WIDTH * len(sizes), HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, len(TASKS)),
        )

    def forward(self, feature_SF: Tensor, field_SK: Tensor) -> Tensor:
        """Return logit_ST."""
        embedded = [table(field_SK[:, k]) for k, table in enumerate(self.fields)]
        logit_ST: Tensor = self.deep(torch.cat([feature_SF, *embedded], dim=-1))
        logit_ST = logit_ST + self.linear(feature_SF)
        for k, table in enumerate(self.weights):
            logit_ST = logit_ST + table(field_SK[:, k])
        for k, table in enumerate(self.crosses, start=1):
            logit_ST = logit_ST + table(field_SK[:, 0] * self.sizes[k] + field_SK[:, k])
        return logit_ST


def _embedding(size: int, width: int, std: float) -> nn.Embedding:
    table = nn.Embedding(size, width)
    nn.init.normal_(table.weight, 0.0, std)
    return table


_NETS = {"dlrm": Dlrm, "wide_deep": WideDeep}


class Ranker(nn.Module):
    """One of the nets, its scale of the features, a bias for each position, and a calibration."""

    mean_F: Tensor
    std_F: Tensor
    isotonic: IsotonicRegression | None = None
    """Probability of a click by its log odds; None if validation saw no click, or no other."""

    def __init__(self, kind: Kind, learn: Rows, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.net = _NETS[kind](learn.feature_SF.shape[1], sizes)
        self.position_PT = nn.Parameter(torch.zeros(POSITIONS + 1, len(TASKS)))
        known_SF = learn.feature_SF.isfinite()
        count_F = known_SF.sum(0).clamp(min=1)
        mean_F = learn.feature_SF.nan_to_num(0.0).sum(0, dtype=torch.float64) / count_F
        far_SF = torch.where(known_SF, learn.feature_SF - mean_F.float(), 0.0)
        std_F = (far_SF.square().sum(0, dtype=torch.float64) / count_F).sqrt()
        self.register_buffer("mean_F", mean_F.float())
        self.register_buffer("std_F", torch.where(std_F > _EPS, std_F, 1.0).float())

    def forward(self, rows: Rows) -> Tensor:
        """Return logit_ST at the positions of the rows."""
        feature_SF = ((rows.feature_SF - self.mean_F) / self.std_F).nan_to_num(0.0)
        logit_ST: Tensor = self.net(feature_SF.clamp(-_FAR, _FAR), rows.field_SK)
        return logit_ST + self.position_PT[rows.position_S.clamp(max=POSITIONS)]

    def click_chance(self, logit_S: Tensor) -> Float64s:
        """Return the probability of a click, calibrated if it could be."""
        if self.isotonic is None:
            return logit_S.sigmoid().double().numpy()
        return np.asarray(self.isotonic.predict(logit_S.double().numpy()))


def fit_ranker(
    kind: Kind, learn: Rows, check: Rows, sizes: tuple[int, ...], params: BudgetParams
) -> Ranker:
    """Train until the loss on the rows of the validation period stops falling.

    Parameters
    ----------
    learn, check
        Rows before and within the validation period; with `refit` both are learnt from once the
        number of epochs is known.  Without the latter all epochs are run and nothing is calibrated.
    sizes
        Values of each field, 0 for unknown included.
    """

    def validate(ranker: Ranker) -> dict[str, float]:
        with torch.inference_mode():
            return {"fit": -_loss(ranker, check).item()}

    known = validate if len(check) else None
    ranker, epochs = _train(kind, learn, sizes, params, EPOCHS, known)
    isotonic = _calibration(ranker, check)
    if params.refit and len(check):
        ranker, _ = _train(kind, learn.joined(check), sizes, params, epochs, None)
    ranker.isotonic = isotonic
    return ranker


def _train(
    kind: Kind,
    learn: Rows,
    sizes: tuple[int, ...],
    params: BudgetParams,
    epochs: int,
    validate: loop.Validate[Ranker] | None,
) -> tuple[Ranker, int]:
    """Return the best ranker and after how many epochs it was."""

    def loss(ranker: Ranker, rows: Tensor) -> Tensor:
        return _loss(ranker, learn.take(rows))

    with seeded(params.seed, CPU):
        ranker = Ranker(kind, learn, sizes)
        run = Run(ranker, loop.adamw(ranker, params.learning_rate, params.weight_decay))
        shown = loop.Shuffled(len(learn), BATCH, loss)
        state = loop.train(kind, run, shown, loop.Rules(epochs), validate)
    return ranker, state.best_epoch


def _loss(ranker: Ranker, rows: Rows) -> Tensor:
    return rank_loss(ranker(rows)[:, None], rows.answers())


def _calibration(ranker: Ranker, check: Rows) -> IsotonicRegression | None:
    known = check.take(check.weight_ST[:, CLICK].nonzero()[:, 0])
    click_S, weight_S = known.label_ST[:, CLICK], known.weight_ST[:, CLICK]
    if not 0 < click_S.sum() < len(click_S):
        return None
    with torch.inference_mode():
        logit_S = ranker(known)[:, CLICK].double()
    isotonic = IsotonicRegression(out_of_bounds="clip")
    return isotonic.fit(logit_S.numpy(), click_S.numpy(), weight_S.numpy())
