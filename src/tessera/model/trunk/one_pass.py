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

from tessera.contracts.arrays import Float32s, Ints
from tessera.model.nn.batch import Batch, Encoded
from tessera.model.nn.device import moved
from tessera.model.nn.ranking import TASKS
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.requests import windows_before
from tessera.model.sequences.slates import Slates, lay
from tessera.model.sequences.windows import Batcher, Windows
from tessera.model.trunk.inference import Ranked, published, served
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

    @classmethod
    def of(cls, model: SequenceModel) -> Self:
        """Compute the vectors of all items."""
        with torch.inference_mode():
            item_VD = model.items()
            return cls(model, item_VD, published(model, item_VD))

    def read(
        self, histories: Histories, user: int, moment: int, before: Settled | None = None
    ) -> Pass:
        """Pass over what a user did strictly before a moment; -1 is a user without events.

        What was settled when the same user was read `before` is not read again.
        """
        user_R, moment_R = np.array([user]), np.array([moment])
        windows = windows_before(histories, user_R, moment_R, self.model.shape.length)
        batch = moved(Batcher(histories).batch(windows), self.item_VD.device)
        with torch.inference_mode():
            if windows.stop_W[0] > windows.start_W[0] and can_settle(self.model):
                seen, settled = read_on(self.model, batch, self.item_VD, before)
            else:
                seen, settled = self.model.encode(batch, self.item_VD), None
        return Pass(self, histories, user, windows, batch, seen, settled)


@dataclass(frozen=True, slots=True)
class Pass:
    """A history as the model has read it."""

    reader: Reader
    histories: Histories
    user: int
    windows: Windows
    batch: Batch
    seen: Encoded
    settled: Settled | None
    """What need not be read again; None if the whole history does."""

    def vector(self) -> Float32s:
        """Return the unit vector D that asks for items."""
        with torch.inference_mode():
            return np.asarray(self._asking(self._last_state())[0].cpu().numpy())

    def scores(self, moment: int, item_M: Ints, feature_MF: Float32s) -> Float32s:
        """Return what the model serves with for each candidate, best largest.

        Parameters
        ----------
        moment
            That of `Reader.read`, in microseconds since 1970.
        item_M
            Rows of the item table.
        feature_MF
            In the order of `Shape.features`.
        """
        model = self.reader.model
        slates = self._slates(moment, item_M, feature_MF)
        start_B = np.minimum(self.windows.start_W, self.windows.stop_W)
        asked = lay(slates, np.zeros((1, 1), np.int64), start_B, self.histories)[0]
        with torch.inference_mode():
            asked = moved(asked, self.reader.item_VD.device)
            logit_NMT = model.logits(self.batch, asked, self.seen, self.reader.item_VD)
            state_ND = states_at(model, self.seen.state_BLD, asked.sequence_N, asked.state_N)
            unit_ND = self._asking(state_ND)
            cosine_NM = torch.einsum("bd,bmd->bm", unit_ND, self.reader.unit_VD[asked.item_NM])
        ranked = Ranked(cosine_NM.cpu().numpy(), logit_NMT.cpu().numpy())
        return np.asarray(served(model, ranked, item_M[None])[0])

    def _last_state(self) -> Tensor:
        real_BL = self.batch.item_BL != 0
        last_B = self.batch.group_BL.masked_fill(~real_BL, -1).amax(1)
        row_B = torch.zeros(1, dtype=torch.int64, device=last_B.device)
        return states_at(self.reader.model, self.seen.state_BLD, row_B, last_B)

    def _asking(self, state_BD: Tensor) -> Tensor:
        form, unit_BD = self.reader.model.closed_form, functional.normalize(state_BD, dim=-1)
        return form.one_investor(unit_BD, self.batch.item_BL, self.batch.action_BL)

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
