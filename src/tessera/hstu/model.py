"""The sequence model: events in, one state for each distinct time out, items in the same space.

Events of equal time are a set: they share a position, see each other and everything earlier, and
the state after them is the mean of their outputs; without ties this is the plain layer stack.

Legend: B sequences, L positions, D width, V items with padding first, C code levels.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from tessera.contracts.errors import BrokenBundle
from tessera.contracts.tables import ACTIONS
from tessera.hstu.layer import HstuLayer, RelativeBias, View, time_bucket
from tessera.hstu.sasrec import SasrecBlock

PADDING = 0
_INIT_STD = 0.02


@dataclass(frozen=True, slots=True)
class Shape:
    """What it takes to build a model again."""

    kind: Literal["hstu", "sasrec"]
    width: int
    blocks: int
    heads: int
    length: int
    dropout: float
    id_dropout: float
    time_bias: bool
    position_bias: bool
    tied_sets: bool
    items: int
    """Rows of the item table, padding included."""
    code_sizes: tuple[int, ...]
    """Codewords of each level, the row for `no code` included; empty without codes."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Left-aligned sequences, oldest event first; times in seconds."""

    item_BL: Tensor
    """Item rows, 0 at padding."""
    action_BL: Tensor
    """Index into `ACTIONS`."""
    second_BL: Tensor
    """When the event happened."""
    request_BL: Tensor
    """The next distinct time: when the state of this event is asked for."""
    group_BL: Tensor
    """Distinct times before the event within the sequence; L or more at padding."""


class SequenceModel(nn.Module):
    """Item and action embeddings, a stack of layers, pooling of tied events."""

    codes_VC: Tensor
    warm_V: Tensor

    def __init__(self, shape: Shape, codes_VC: Tensor, warm_V: Tensor) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("codes_VC", codes_VC)
        self.register_buffer("warm_V", warm_V)
        self.item_VD = _table(shape.items, shape.width)
        self.action_AD = _table(len(ACTIONS), shape.width)
        self.position_LD = _table(shape.length, shape.width)
        self.start_D = nn.Parameter(torch.empty(shape.width).normal_(0, _INIT_STD))
        self.codewords = nn.ParameterList(_table(size, shape.width) for size in shape.code_sizes)
        self.layers = nn.ModuleList(_layer(shape) for _ in range(shape.blocks))
        self.last = nn.LayerNorm(shape.width) if shape.kind == "sasrec" else nn.Identity()

    def items(self) -> Tensor:
        """Return item_VD: own part plus the codewords; an unseen item has only codewords."""
        if not self.codewords:
            return self.item_VD
        keep_V = self.warm_V.float()
        if self.training and self.shape.id_dropout:
            keep_V = keep_V * (torch.rand_like(keep_V) >= self.shape.id_dropout)
        item_VD = self.item_VD * keep_V[:, None]
        for level, codeword_KD in enumerate(self.codewords):
            item_VD = item_VD + codeword_KD[self.codes_VC[:, level]]
        return item_VD

    def placed_V(self) -> Tensor:
        """Return which items have a place in the space: seen while training, or with a code."""
        return self.warm_V | self.codes_VC.bool().any(1)

    def forward(self, batch: Batch, item_VD: Tensor) -> Tensor:
        """Return state_BLD: row g is the state after the g-th distinct time of the sequence."""
        real_BL = batch.item_BL != PADDING
        view = _view(batch, real_BL)
        position_BL = batch.group_BL.clamp(max=self.shape.length - 1)
        input_BLD = item_VD[batch.item_BL] + self.action_AD[batch.action_BL]
        x_BLD = input_BLD * math.sqrt(self.shape.width) + self.position_LD[position_BL]
        x_BLD = functional.dropout(x_BLD, self.shape.dropout, self.training) * view.real_BL1
        for layer in self.layers:
            x_BLD = layer(x_BLD, view)
        return _pool(self.last(x_BLD), batch.group_BL, real_BL)


def states_at(
    model: SequenceModel, state_BLD: Tensor, sequence_N: Tensor, state_N: Tensor
) -> Tensor:
    """Pick state_ND out of the batch; -1 picks the learnt state of an empty history."""
    batch, length, _ = state_BLD.shape
    row_ND = torch.cat([state_BLD.flatten(0, 1), model.start_D[None]])
    index_N = torch.where(state_N < 0, batch * length, sequence_N * length + state_N)
    return row_ND.index_select(0, index_N)


def _table(rows: int, width: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(rows, width).normal_(0, _INIT_STD))


def _layer(shape: Shape) -> nn.Module:
    if shape.kind == "sasrec":
        return SasrecBlock(shape.width, shape.heads, shape.dropout)
    bias = RelativeBias(shape.length, position_bias=shape.position_bias, time_bias=shape.time_bias)
    return HstuLayer(shape.width, shape.heads, shape.dropout, bias)


def _view(batch: Batch, real_BL: Tensor) -> View:
    steps_BLL = batch.group_BL[:, :, None] - batch.group_BL[:, None, :]
    mask_BLL = steps_BLL >= 0
    length = batch.group_BL.shape[1]
    return View(
        mask_BLL=mask_BLL,
        steps_BLL=steps_BLL.clamp(0, length - 1),
        bucket_BLL=time_bucket(batch.request_BL[:, :, None] - batch.second_BL[:, None, :]),
        real_BL1=real_BL[:, :, None].float(),
    )


def _pool(out_BLD: Tensor, group_BL: Tensor, real_BL: Tensor) -> Tensor:
    """Mean of the outputs of each group; groups that do not exist are zero."""
    batch, length, width = out_BLD.shape
    row_BL = torch.arange(batch)[:, None] * length + group_BL.clamp(max=length - 1)
    kept_BLD = out_BLD * real_BL[:, :, None]
    total = out_BLD.new_zeros(batch * length, width).index_add(
        0, row_BL.flatten(), kept_BLD.flatten(0, 1)
    )
    count = out_BLD.new_zeros(batch * length).index_add(
        0, row_BL.flatten(), real_BL.flatten().float()
    )
    return (total / count.clamp(min=1.0)[:, None]).view(batch, length, width)


def save_model(model: SequenceModel, vocabulary: list[str], folder: Path) -> None:
    """Write model.safetensors, config.json and items.json; row r + 1 is items[r]."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(asdict(model.shape), indent=2) + "\n")
    (folder / "items.json").write_text(json.dumps(vocabulary) + "\n")


def load_model(folder: Path) -> tuple[SequenceModel, list[str]]:
    """Read what `save_model` wrote.

    Raises
    ------
    BrokenBundle
        If a file is missing or does not fit the others.
    """
    try:
        raw = json.loads((folder / "config.json").read_text())
        vocabulary: list[str] = json.loads((folder / "items.json").read_text())
        weights = load_file(folder / "model.safetensors")
        shape = Shape(**{**raw, "code_sizes": tuple(raw["code_sizes"])})
        model = SequenceModel(shape, weights["codes_VC"].clone(), weights["warm_V"].clone())
        model.load_state_dict(weights)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise BrokenBundle(f"{folder} is no sequence model ({error}); publish it again") from error
    return model.eval(), vocabulary
