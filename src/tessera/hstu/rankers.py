"""DLRM and Wide & Deep on the slates of the ranking head, so that it stands beside its rivals.

They learn from the same slates, labels and features over the same periods, and are judged on the
same pairs.  They know no history but what the features say of it.  Naumov et al. 2019, "Deep
Learning Recommendation Model", arXiv 1906.00091; Cheng et al. 2016, "Wide & Deep Learning", arXiv
1606.07792.

Legend: R requests, M positions of a slate, S shown rows, F features, K fields, D width, T tasks,
P positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import pyarrow.compute as pc
import torch
from ibis import Table
from torch import Tensor, nn

from tessera.contracts.progress import progress_bar
from tessera.features.facts import NOBODY
from tessera.features.stretches import Clock, Index
from tessera.hstu.fit import World
from tessera.hstu.histories import Ints
from tessera.hstu.logged import Log, ripe
from tessera.hstu.logscores import Judged, Scored, judged
from tessera.hstu.model import SequenceModel
from tessera.hstu.params import HstuParams
from tessera.hstu.ranking import CLICK, POSITIONS, TASKS, Answers, rank_loss
from tessera.hstu.scoring import Floats
from tessera.hstu.slates import Slates
from tessera.hstu.world import microseconds, rows_of
from tessera.metrics.calibration import expected_calibration_error
from tessera.metrics.slates import slate_auc

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
        parts = (self.feature_SF, self.field_SK, self.position_S, self.label_ST, self.weight_ST)
        return Rows(*(part.index_select(0, rows) for part in parts))

    def answers(self) -> Answers:
        """Return what the ranking loss compares logits with."""
        return Answers(self.label_ST[:, None], self.weight_ST[:, None])


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
    """One of the nets, its scale of the features, and a bias for each position of a slate."""

    mean_F: Tensor
    std_F: Tensor

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


def fit_ranker(
    kind: Kind, learn: Rows, check: Rows, sizes: tuple[int, ...], params: HstuParams
) -> Ranker:
    """Train until the loss on the rows of the validation period stops falling.

    Parameters
    ----------
    learn, check
        Rows before and within the validation period; without the latter all epochs are run.
    sizes
        Values of each field, 0 for unknown included.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.seed)
        ranker = Ranker(kind, learn, sizes)
        optimizer = torch.optim.AdamW(
            ranker.parameters(),
            lr=params.learning_rate,
            weight_decay=params.weight_decay,
            fused=True,
        )
        best, least = ranker.state_dict(), float("inf")
        with progress_bar(f"train {kind}", EPOCHS) as bar:
            for _ in range(EPOCHS):
                _epoch(ranker, optimizer, learn)
                bar.advance()
                loss = _loss(ranker, check) if len(check) else -1.0
                if loss >= least and len(check):
                    break
                least = loss
                best = {name: value.clone() for name, value in ranker.state_dict().items()}
    ranker.load_state_dict(best)
    return ranker.eval()


def _epoch(ranker: Ranker, optimizer: torch.optim.Optimizer, learn: Rows) -> None:
    for rows in torch.split(torch.randperm(len(learn)), BATCH):
        batch = learn.take(rows)
        loss = rank_loss(ranker(batch)[:, None], batch.answers())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _loss(ranker: Ranker, rows: Rows) -> float:
    with torch.inference_mode():
        return rank_loss(ranker(rows)[:, None], rows.answers()).item()


def rival_figures(
    users: Table, model: SequenceModel, scored: Scored, world: World, params: HstuParams
) -> dict[str, float]:
    """Return slate AUC of each task and calibration error of a click after the cut, by ranker.

    Slates are judged at the top position as the ranking head is; probabilities where they stood.
    """
    found = judged(scored, world, params)
    if found is None or model.rank is None:
        return {}
    figures = head_error(model, scored, found)
    return figures | ranker_figures(users, found, world, params) if params.rankers else figures


def ranker_figures(
    users: Table, found: Judged, world: World, params: HstuParams
) -> dict[str, float]:
    """Train both rankers and judge them; nothing where there is nothing to learn from."""
    log = world.log
    if log is None:
        return {}
    learn_R, check_R, _ = ripe(log.slates, world.split, params)
    if not learn_R.any() or not found.kept_R.any():
        return {}
    segment_R = segments(users, log)
    sizes = (
        int(segment_R.max()) + 1,
        len(log.facts.category_I),
        int(log.facts.category_I.max()) + 2,
    )
    learn, check, later = (
        _rows(log.lessons(chosen_R, params.features)[1], segment_R[chosen_R], log)
        for chosen_R in (learn_R, check_R, found.kept_R)
    )
    figures: dict[str, float] = {}
    for kind in KINDS:
        ranker = fit_ranker(kind, learn, check, sizes, params)
        figures |= _judge(kind, ranker, later, found)
    return figures


def segments(users: Table, log: Log) -> Ints:
    """Return the number of each investor's segment as of each logged request; 0 is unknown."""
    rows = users.select("user_id", "valid_from", "segment").to_pyarrow()
    rows = rows.sort_by([("user_id", "ascending"), ("valid_from", "ascending")])
    name = pc.fill_null(rows["segment"].combine_chunks(), "")
    number_U = rows_of(name, sorted({*name.to_pylist()} - {""})) + 1
    since_U, asked_R = microseconds(rows["valid_from"]), log.slates.moment_R
    clock = Clock(since_U)
    versions = Index(rows_of(rows["user_id"], log.people), clock.rank(since_U), clock.span)
    first_R, stop_R = versions.stretch(log.person_R, clock.rank(asked_R + 1))
    segment_R = np.zeros(len(asked_R), np.int64)
    known_R = stop_R > first_R
    segment_R[known_R] = number_U[versions.order_E[stop_R[known_R] - 1]]
    return segment_R


def _rows(slates: Slates, segment_R: Ints, log: Log) -> Rows:
    """Lay the shown rows of slates one after the other."""
    is_shown_RM = slates.item_RM > 0
    item_S = slates.item_RM[is_shown_RM]
    segment_S = np.broadcast_to(segment_R[:, None], is_shown_RM.shape)[is_shown_RM]
    category_S = log.facts.category_I[item_S] - NOBODY
    return Rows(
        torch.from_numpy(slates.feature_RMF[is_shown_RM]),
        torch.from_numpy(np.column_stack([segment_S, item_S, category_S])),
        torch.from_numpy(slates.position_RM[is_shown_RM]),
        torch.from_numpy(slates.label_RMT[is_shown_RM]),
        torch.from_numpy(slates.weight_RMT[is_shown_RM]),
    )


def _judge(kind: Kind, ranker: Ranker, later: Rows, found: Judged) -> dict[str, float]:
    with torch.inference_mode():
        logit_ST = ranker(later)
        at_top_ST = logit_ST - ranker.position_PT[later.position_S.clamp(max=POSITIONS)]
    logit_RMT = np.zeros(found.slates.label_RMT.shape, np.float32)
    logit_RMT[found.slates.item_RM > 0] = at_top_ST.numpy()
    figures = {
        f"rank_auc_{task}_{kind}": slate_auc(
            logit_RMT[..., t], found.slates.label_RMT[..., t], found.known_RMT[..., t]
        )
        for t, task in enumerate(TASKS)
    }
    logit_RMT[found.slates.item_RM > 0] = logit_ST.numpy()
    figures[f"rank_ece_click_{kind}"] = click_error(logit_RMT[..., CLICK], found)
    return {name: value for name, value in figures.items() if np.isfinite(value)}


def head_error(model: SequenceModel, scored: Scored, found: Judged) -> dict[str, float]:
    """Return the calibration error of a click by the ranking head, where the items stood."""
    logit_CT = scored.scores.logit_CT
    if model.rank is None or logit_CT is None:
        return {}
    bias_P = model.rank.position_PT[:, CLICK].detach().numpy()
    position_RM = np.minimum(found.slates.position_RM, POSITIONS)
    error = click_error(logit_CT[:, CLICK][found.at_RM] - bias_P[1] + bias_P[position_RM], found)
    return {"rank_ece_click": error} if np.isfinite(error) else {}


def click_error(logit_RM: Floats, found: Judged) -> float:
    """Return the expected calibration error of the probability of a click; NaN without rows."""
    known_RM = found.known_RMT[..., CLICK]
    if not known_RM.any():
        return float("nan")
    chance_N = torch.from_numpy(logit_RM[known_RM]).sigmoid().double().numpy()
    clicked_N = found.slates.label_RMT[..., CLICK][known_RM].astype(np.float64)
    return expected_calibration_error(chance_N, clicked_N)
