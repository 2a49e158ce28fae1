"""A history that was read before is read on from where it ended: only new events pass the layers.

The states after all distinct times but the last are settled: they answer the event that followed.
The last one answers the request, whose time is another one each time, so it is read again.

Worked example: events at seconds 10, 20, 20 and 30 have the groups 0, 1, 1 and 2.  The first three
rows are settled: the state after group 1 answers second 30, whoever asks and when.  Of the next
request the row of group 2 alone passes the layers; after another event at 40 the rows of the groups
2 and 3 do.

Legend: B = 1 sequence, L positions, S of them settled, T of them read now, D width, H heads, E
width of a head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tessera.model.nn.batch import Batch, Encoded, cut
from tessera.model.nn.layer import HstuLayer
from tessera.model.nn.ranking import KVCache
from tessera.model.nn.tiles import time_bucket
from tessera.model.trunk.model import SequenceModel

_ALL = slice(None)


@dataclass(frozen=True, slots=True)
class Settled:
    """The settled rows of one history: what they were read from, and what came of them."""

    batch: Batch
    layers: tuple[KVCache, ...]
    """Keys and values of every layer."""
    out_BSD: Tensor
    """Output of the last layer."""

    def __len__(self) -> int:
        return self.out_BSD.shape[1]

    def begins(self, batch: Batch) -> bool:
        """Tell whether a history begins with these very rows."""
        first = cut(batch, _ALL, len(self))
        return all(map(torch.equal, _parts(self.batch), _parts(first)))

    @property
    def bytes(self) -> int:
        """Return what it takes of memory."""
        kept = [self.out_BSD, *_parts(self.batch)]
        kept += [part for layer in self.layers for part in (layer.key_BHLE, layer.value_BHLE)]
        return sum(part.untyped_storage().nbytes() for part in kept)


def _parts(batch: Batch) -> tuple[Tensor, ...]:
    return batch.item_BL, batch.action_BL, batch.second_BL, batch.request_BL, batch.group_BL


def can_settle(model: SequenceModel) -> bool:
    """Tell whether a row depends on those before it by keys and values alone."""
    shape = model.shape
    return shape.kind == "hstu" and not shape.edge_bias and model.state_part is None


def read_on(
    model: SequenceModel, batch: Batch, item_VD: Tensor, before: Settled | None
) -> tuple[Encoded, Settled]:
    """Do as `SequenceModel.encode` for one sequence with events, reading what is not settled.

    Parameters
    ----------
    model
        One that `can_settle`.
    before
        Of the same investor; rows that are not how this history begins are read again.

    Returns
    -------
    encoded
        As of the whole history, up to the rounding of sums of another length.
    settled
        For the next request.
    """
    known = before if before is not None and before.begins(batch) else None
    start = len(known) if known else 0
    x_BTD = _inputs(model, batch, item_VD, start)
    sight = _sight(model, batch, start)
    layers: list[KVCache] = []
    for depth, layer in enumerate(model.layers):
        assert isinstance(layer, HstuLayer)
        x_BTD, memory = _pass(layer, x_BTD, sight, known.layers[depth] if known else None)
        layers.append(memory)
    out_BLD = torch.cat([known.out_BSD, x_BTD], dim=1) if known else x_BTD
    memory_of_top = tuple(layers[model.shape.blocks - model.shape.rank_blocks :])
    encoded = Encoded(_states(out_BLD, batch), out_BLD, memory_of_top)
    return encoded, _settle(batch, layers, out_BLD)


@dataclass(frozen=True, slots=True)
class _Sight:
    steps_N: Tensor
    """Row in the table of the position's bias, of each cell T x L."""
    bucket_N: Tensor
    """Row in the table of the time's bias."""
    seen_TL: Tensor
    """1 where a row sees a column, else 0: to multiply is several times faster than to fill."""


def _sight(model: SequenceModel, batch: Batch, start: int) -> _Sight:
    group_L = batch.group_BL[0]
    steps_TL = group_L[start:, None] - group_L
    seen_TL = steps_TL >= 0
    if model.shape.window is not None:
        seen_TL &= steps_TL < model.shape.window
    gap_TL = batch.request_BL[0, start:, None] - batch.second_BL[0]
    steps_N = steps_TL.clamp(min=0).view(-1) + (model.shape.length - 1)
    return _Sight(steps_N, time_bucket(gap_TL).view(-1), seen_TL.float())


def _inputs(model: SequenceModel, batch: Batch, item_VD: Tensor, start: int) -> Tensor:
    vector_BTD = functional.embedding(batch.item_BL[:, start:], item_VD)
    action_BTD = functional.embedding(batch.action_BL[:, start:], model.action_AD)
    place_BT = batch.group_BL[:, start:].clamp(max=model.shape.length - 1)
    scaled_BTD = (vector_BTD + action_BTD) * math.sqrt(model.shape.width)
    return scaled_BTD + functional.embedding(place_BT, model.position_LD)


def _pass(
    layer: HstuLayer, x_BTD: Tensor, sight: _Sight, before: KVCache | None
) -> tuple[Tensor, KVCache]:
    u_BTD, query_BHTE, *new = layer.parts(x_BTD)
    memory = _joined(before, KVCache(*new)) if before else KVCache(*new)
    score_BHTL = query_BHTE @ memory.key_BHLE.transpose(-1, -2)
    bias = layer.bias()
    for table, row_N in ((bias.position, sight.steps_N), (bias.time, sight.bucket_N)):
        if table is not None:
            score_BHTL += table.index_select(0, row_N).view_as(sight.seen_TL)
    weight_BHTL = functional.silu(score_BHTL).mul_(sight.seen_TL)
    return layer.gated(x_BTD, u_BTD, weight_BHTL @ memory.value_BHLE), memory


def _joined(before: KVCache, new: KVCache) -> KVCache:
    return KVCache(
        torch.cat([before.key_BHLE, new.key_BHLE], dim=2),
        torch.cat([before.value_BHLE, new.value_BHLE], dim=2),
    )


def _states(out_BLD: Tensor, batch: Batch) -> Tensor:
    """Return the mean output of each group, zeros behind them, as `SequenceModel.encode` does."""
    group_L = batch.group_BL[0]
    total_LD = torch.zeros_like(out_BLD[0]).index_add(0, group_L, out_BLD[0])
    count_L = torch.bincount(group_L, minlength=len(group_L)).clamp(min=1)
    return (total_LD / count_L[:, None])[None]


def _settle(batch: Batch, layers: list[KVCache], out_BLD: Tensor) -> Settled:
    stop = int((batch.group_BL[0] < batch.group_BL[0, -1]).sum())
    return Settled(
        Batch(*(part.clone() for part in _parts(cut(batch, _ALL, stop)))),
        tuple(
            KVCache(one.key_BHLE[:, :, :stop].clone(), one.value_BHLE[:, :, :stop].clone())
            for one in layers
        ),
        out_BLD[:, :stop].clone(),
    )
