"""One history read once: what it asks for, and what the ranking head says of any candidates.

The batch reads its histories again for each purpose; a service answers from a single pass.

Legend: B = 1 sequence, L positions, M candidates, F features, V items with padding first, D width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tessera.contracts.arrays import Bools, Float32s, Ints
from tessera.model.nn.batch import PADDING, Batch, Encoded
from tessera.model.nn.device import moved
from tessera.model.nn.ranking import CAP, TASKS, RankingHead
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.slates import Slates, lay
from tessera.model.sequences.windows import Batcher, Windows, last_windows
from tessera.model.trunk.inference import UNKNOWN_SCORE, placed, published, serving_head
from tessera.model.trunk.model import SequenceModel, states_at
from tessera.model.trunk.settled import Settled, can_settle, read_on


@dataclass(frozen=True, slots=True)
class Reader:
    """A model with the vectors of its items, computed once."""

    model: SequenceModel
    item_VD: Tensor
    """As the trunk reads them."""
    unit_VD: Tensor
    """As they are published."""
    head: RankingHead | None
    """What the model serves with; None serves with the cosine."""
    is_placed_V: Bools
    """Whether an item has a place; the others get the least score."""

    @classmethod
    def of(cls, model: SequenceModel) -> Self:
        """Compute the vectors of all items."""
        with torch.inference_mode():
            item_VD, head = model.items(), serving_head(model)
            is_placed_V = placed(model) if head is None else model.placed_V().cpu().numpy()
            return cls(model, item_VD, published(model, item_VD), head, is_placed_V)

    def read(
        self, histories: Histories, user: int, moment: int, before: Settled | None = None
    ) -> Pass:
        """Pass over what a user did strictly before a moment; -1 is a user without events.

        What was settled when the same user was read `before` is not read again.
        """
        user_R, moment_R = np.array([user]), np.array([moment])
        first_R, stop_R = histories.stretches_before(user_R, moment_R)
        windows = last_windows(first_R, stop_R, moment_R // 1_000_000, self.model.shape.length)
        batch = moved(Batcher(histories).batch(windows), self.item_VD.device)
        with torch.inference_mode():
            if windows.stop_W[0] > windows.start_W[0] and can_settle(self.model):
                seen, settled = read_on(self.model, batch, self.item_VD, before)
            else:
                seen, settled = self.model.encode(batch, self.item_VD), None
            asking_BD = _asking(self.model, batch, seen)
        return Pass(self, histories, user, windows, batch, seen, asking_BD, settled)

    def chances(self, logit_LT: Float32s) -> Float32s:
        """Return the probability of each task of a slate's items, from the top; see `Scored`."""
        assert self.head is not None, "without a ranking head nothing has log odds"
        logit = torch.from_numpy(logit_LT).to(self.item_VD.device)
        position_L = torch.arange(1, len(logit) + 1, device=logit.device)
        with torch.inference_mode():
            chance_LT: Float32s = self.head.chances(logit, position_L).cpu().numpy()
        return chance_LT


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model says of candidates."""

    score_M: Float32s
    """What it serves with, best largest."""
    logit_MT: Float32s | None = None
    """Log odds of each task at the top of a slate; None if it serves with the cosine."""

    def of(self, kept_M: Bools) -> Scored:
        """Return what it says of some of them."""
        return Scored(
            self.score_M[kept_M], None if self.logit_MT is None else self.logit_MT[kept_M]
        )


@dataclass(frozen=True, slots=True)
class Pass:
    """A history as the model has read it."""

    reader: Reader
    histories: Histories
    user: int
    windows: Windows
    batch: Batch
    seen: Encoded
    asking_BD: Tensor
    """The unit vector that asks for items."""
    settled: Settled | None
    """What need not be read again; None if the whole history does."""

    def vector(self) -> Float32s:
        """Return the unit vector D that asks for items."""
        return np.asarray(self.asking_BD[0].cpu().numpy())

    def scored(self, moment: int, item_M: Ints, feature_MF: Float32s) -> Scored:
        """Return what the model says of each candidate.

        Parameters
        ----------
        moment
            That of `Reader.read`, in microseconds since 1970.
        item_M
            Rows of the item table.
        feature_MF
            In the order of `Shape.features`.
        """
        reader = self.reader
        slates = self._slates(moment, item_M, feature_MF)
        start_B = np.minimum(self.windows.start_W, self.windows.stop_W)
        first_U1, group_E = self.histories.first_U1, self.histories.group_E
        asked = lay(slates, np.zeros((1, 1), np.int64), start_B, first_U1, group_E)[0]
        asked, logit_MT = moved(asked, reader.item_VD.device), None
        with torch.inference_mode():
            if reader.head is not None:
                logit_NMT = reader.model.logits(self.batch, asked, self.seen, reader.item_VD)
                score_NM, least = reader.head.score(logit_NMT), -CAP
                logit_MT = logit_NMT[0].cpu().numpy()
            else:
                unit_NMD = functional.embedding(asked.item_NM, reader.unit_VD)
                score_NM = torch.einsum("bd,bmd->bm", self.asking_BD, unit_NMD)
                least = UNKNOWN_SCORE
        is_placed_M = reader.is_placed_V[item_M]
        score_M = np.where(is_placed_M, score_NM[0].cpu().numpy(), np.float32(least))
        return Scored(score_M, logit_MT)

    def _slates(self, moment: int, item_M: Ints, feature_MF: Float32s) -> Slates:
        none_1MT = np.zeros((1, len(item_M), len(TASKS)), np.float32)
        return Slates(
            user_R=np.array([self.user]),
            moment_R=np.array([moment]),
            stop_R=self.windows.stop_W,
            item_RM=item_M[None],
            position_RM=np.ones((1, len(item_M)), np.int64),
            feature_RMF=feature_MF[None],
            label_RMT=none_1MT,
            weight_RMT=none_1MT,
        )


def _asking(model: SequenceModel, batch: Batch, seen: Encoded) -> Tensor:
    """Return the unit vector of the state after the last event, with what closed forms say."""
    last_B = batch.group_BL.masked_fill(batch.item_BL == PADDING, -1).amax(1)
    state_BD = states_at(model, seen.state_BLD, torch.zeros_like(last_B), last_B)
    unit_BD = functional.normalize(state_BD, dim=-1)
    return model.closed_form.one_investor(unit_BD, batch.item_BL, batch.action_BL)
