"""The sequence model: events in, one state for each distinct time out, items in the same space.

Events of equal time are a set: they share a position, see each other and everything earlier, and
the state after them is the mean of their outputs; without ties this is the plain layer stack.

Legend: B sequences, L positions, D width, V items with padding first, C code levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera.contracts.tables import ACTIONS
from tessera.model.nn.batch import PADDING, Batch, Encoded, cut, join, runs
from tessera.model.nn.codewords import Codewords, CodewordSettings
from tessera.model.nn.cross_entropy import CrossEntropy
from tessera.model.nn.generative import Decoder
from tessera.model.nn.hidden_net import HiddenSettings
from tessera.model.nn.layer import HstuLayer, RelativeBias
from tessera.model.nn.linear import dropout
from tessera.model.nn.lookup import between
from tessera.model.nn.masking import ActionGuess
from tessera.model.nn.plugs import (
    GenerativeHead,
    ItemInput,
    RankNet,
    RankObjective,
    StatePart,
    name_of,
)
from tessera.model.nn.ranking import (
    AttentionView,
    KVCache,
    Lookback,
    RankingBatch,
    RankingHead,
    look_back,
    remember,
)
from tessera.model.nn.recency import RecencySettings
from tessera.model.nn.sasrec import SasrecBlock
from tessera.model.nn.saved_names import saved_as
from tessera.model.nn.tiles import View
from tessera.model.trunk.closed_form import ClosedForm

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
    guesses_actions: bool = False
    """It was trained to guess hidden actions."""
    rank_blocks: int = 0
    """Top layers that ranked candidates pass through; 0 without a ranking head."""
    rank_hidden: int = 0
    feature_groups: tuple[str, ...] = ()
    """What the ranking head is told about a candidate, see `features.groups`."""
    features: tuple[str, ...] = ()
    """Names of these features in order."""
    score: Literal["recall", "rank"] = "recall"
    """Head whose scores are served."""
    uplift_weight: float = 0.0
    """What a standard deviation of the effect of being shown adds to a served score."""
    window: int | None = None
    """Distinct times that each layer looks back, the own included; None looks all the way."""
    edge_bias: bool = False
    """Attention sees the edge between two items."""
    item_weights_width: int = 0
    """Width of the part of every published vector that knows which items go together; 0 without."""
    classes: int = 0
    """Classes of items in the part that knows what will be wanted; 0 without."""
    profits: bool = False
    """Published vectors know what the items earned lately."""
    recency_s: tuple[float, ...] = ()
    """Where the scales of the recency summaries start, in seconds; empty without them."""
    item_input: ItemInput | None = None
    """What vectors of items are made by; None sums codewords."""
    state_part: StatePart | None = None
    """What is added to the outputs; None adds recency where it has scales."""
    rank_net: RankNet | None = None
    """What the ranking head ends in; None in one hidden layer."""
    rank_objective: RankObjective | None = None
    """What the ranking head learnt by; None by cross-entropy."""
    generative_head: GenerativeHead | None = None
    """What decodes the codes of the next item; None decodes none."""

    def chosen_item_input(self) -> ItemInput:
        """Return what vectors of items are made by."""
        return self.item_input or CodewordSettings(self.code_sizes, self.id_dropout)

    def chosen_state_part(self) -> StatePart | None:
        """Return what is added to the outputs; None adds nothing."""
        if self.state_part is None and self.recency_s:
            return RecencySettings(self.recency_s)
        return self.state_part

    def chosen_rank_net(self) -> RankNet:
        """Return what the ranking head ends in."""
        return self.rank_net or HiddenSettings(self.rank_hidden)

    def chosen_rank_objective(self) -> RankObjective:
        """Return what the ranking head learns by."""
        return self.rank_objective or CrossEntropy()


class SequenceModel(nn.Module):
    """Item and action embeddings, a stack of layers, pooling of tied events."""

    codes_VC: Tensor
    warm_V: Tensor
    edge_VV: Tensor | None
    """Weight of the edge from one item to the other; None where attention sees none."""

    def __init__(
        self, shape: Shape, codes_VC: Tensor, warm_V: Tensor, edge_VV: Tensor | None = None
    ) -> None:
        super().__init__()
        if shape.edge_bias != (edge_VV is not None):
            raise ValueError("edges belong to a model with edge_bias, and to no other")
        self.shape = shape
        self.register_buffer("codes_VC", codes_VC)
        self.register_buffer("warm_V", warm_V)
        self.register_buffer("edge_VV", edge_VV)
        self.item_VD = _table(shape.items, shape.width)
        self.action_AD = _table(len(ACTIONS), shape.width)
        self.position_LD = _table(shape.length, shape.width)
        self.start_D = nn.Parameter(torch.empty(shape.width).normal_(0, _INIT_STD))
        item_input = shape.chosen_item_input()
        self.item_input = item_input.build(shape.width)
        self.layers = nn.ModuleList(_layer(shape) for _ in range(shape.blocks))
        self.last = nn.LayerNorm(shape.width) if shape.kind == "sasrec" else nn.Identity()
        self.actions = ActionGuess(shape.width) if shape.guesses_actions else None
        self.rank = _head(shape) if shape.rank_blocks else None
        self.closed_form = ClosedForm(
            shape.items, shape.item_weights_width, shape.classes, shape.profits
        )
        # Drawn last, so that the rest starts as it does without.
        state_part = shape.chosen_state_part()
        self.state_part: nn.Module | None = None
        saved_as(self, "item_input", name_of("item_input", item_input))
        if state_part is not None:
            self.state_part = state_part.build(shape.width, shape.dropout)
            saved_as(self, "state_part", name_of("state_part", state_part))
        self.decoder: Decoder | None = None
        if shape.generative_head is not None:
            levels = len(shape.code_sizes)
            self.decoder = Decoder(shape.generative_head.build(shape.width, levels), levels)

    def items(self) -> Tensor:
        """Return item_VD, the vectors of all items."""
        item_VD: Tensor = self.item_input(self.item_VD, self.codes_VC, self.warm_V)
        return item_VD

    def codebook(self) -> tuple[Tensor, ...]:
        """Return the codewords of each level: the very tables that items are read with."""
        return cast(Codewords, self.item_input).codebook()

    def placed_V(self) -> Tensor:
        """Return which items have a place in the space: seen while training, or with a code."""
        return self.warm_V | self.codes_VC.bool().any(1)

    def is_placed(self, item_N: Tensor) -> Tensor:
        """Return of some items whether they have a place; see `placed_V`."""
        return self.warm_V[item_N] | self.codes_VC[item_N].bool().any(-1)

    def forward(self, batch: Batch, item_VD: Tensor) -> Tensor:
        """Return state_BLD: row g is the state after the g-th distinct time of the sequence."""
        return self.encode(batch, item_VD).state_BLD

    def encode(self, batch: Batch, item_VD: Tensor, masked_BL: Tensor | None = None) -> Encoded:
        """Pass over the histories once; the actions of masked events are hidden."""
        input_BLD = functional.embedding(batch.item_BL, item_VD)
        action_BLD = functional.embedding(batch.action_BL, self.action_AD)
        if self.actions is not None and masked_BL is not None:
            action_BLD = self.actions.hide(action_BLD, masked_BL)
        input_BLD = (input_BLD + action_BLD) * math.sqrt(self.shape.width)
        encoded = [
            self._encode_run(cut(batch, rows, longest), input_BLD[rows, :longest])
            for rows, longest in runs(batch)
        ]
        length = batch.item_BL.shape[1]
        is_whole = encoded[0].state_BLD.shape[:2] == batch.item_BL.shape
        return encoded[0] if is_whole else join(encoded, length)

    def _encode_run(self, batch: Batch, x_BLD: Tensor) -> Encoded:
        real_BL = batch.item_BL != PADDING
        edge_BLL = between(self.edge_VV, batch.item_BL, batch.item_BL)
        view = _view(batch, real_BL, self.shape.window, edge_BLL)
        if view.has_ties:
            position_BL = batch.group_BL.clamp(max=self.shape.length - 1)
            x_BLD = x_BLD + functional.embedding(position_BL, self.position_LD)
        else:
            x_BLD = x_BLD + self.position_LD[: x_BLD.shape[1]]
        x_BLD = dropout(x_BLD, self.shape.dropout, self.training) * view.real_BL1
        memory: list[KVCache] = []
        for depth, layer in enumerate(self.layers):
            if depth >= self.shape.blocks - self.shape.rank_blocks:
                memory.append(remember(cast(HstuLayer, layer), x_BLD))
            x_BLD = layer(x_BLD, view)
        out_BLD = self.last(x_BLD)
        if self.state_part is not None:
            out_BLD = self.state_part(out_BLD, view)
        if view.has_ties:
            return Encoded(_pool(out_BLD, batch.group_BL, real_BL), out_BLD, tuple(memory))
        return Encoded(out_BLD * view.real_BL1, out_BLD, tuple(memory))

    def logits(self, batch: Batch, asked: RankingBatch, seen: Encoded, item_VD: Tensor) -> Tensor:
        """Return logit_NMT of the candidates of each request, from one pass over the history."""
        if self.rank is None:
            raise ValueError("this model has no ranking head")
        vector_NMD = functional.embedding(asked.item_NM, item_VD)
        place_N1 = (asked.state_N + 1).clamp(max=self.shape.length - 1)[:, None]
        x_NMD = (vector_NMD + self.rank.candidate_D) * math.sqrt(self.shape.width)
        x_NMD = x_NMD + self.position_LD[place_N1]
        edge_NML = between(self.edge_VV, batch.item_BL[asked.sequence_N], asked.item_NM)
        far = Lookback(self.shape.length, self.shape.window)
        sight = AttentionView.of(asked, batch.group_BL, batch.second_BL, far, edge_NML)
        top = cast(Iterable[HstuLayer], self.layers[-self.shape.rank_blocks :])
        for layer, memory in zip(top, seen.memory, strict=True):
            x_NMD = look_back(layer, x_NMD, asked, memory, sight)
        state_ND = states_at(self, seen.state_BLD, asked.sequence_N, asked.state_N).detach()
        cosine_NM = functional.cosine_similarity(state_ND[:, None], vector_NMD.detach(), dim=-1)
        logit_NMT: Tensor = self.rank(x_NMD, vector_NMD, cosine_NM, asked)
        return logit_NMT


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


def _head(shape: Shape) -> RankingHead:
    return RankingHead(shape.width, len(shape.features), shape.chosen_rank_net().build)


def _layer(shape: Shape) -> nn.Module:
    if shape.kind == "sasrec":
        return SasrecBlock(shape.width, shape.heads, shape.dropout)
    bias = RelativeBias(
        shape.length,
        position_bias=shape.position_bias,
        time_bias=shape.time_bias,
        extra_bias=shape.edge_bias,
    )
    return HstuLayer(shape.width, shape.heads, shape.dropout, bias)


def _view(
    batch: Batch, real_BL: Tensor, window: int | None = None, edge_BLL: Tensor | None = None
) -> View:
    real_BL1 = real_BL[:, :, None].float()
    return View(batch.group_BL, batch.second_BL, batch.request_BL, real_BL1, window, edge_BLL)


def _pool(out_BLD: Tensor, group_BL: Tensor, real_BL: Tensor) -> Tensor:
    """Mean of the outputs of each group; groups that do not exist are zero."""
    batch, length, width = out_BLD.shape
    first_B = torch.arange(batch, device=group_BL.device) * length
    row_BL = first_B[:, None] + group_BL.clamp(max=length - 1)
    kept_BLD = out_BLD * real_BL[:, :, None]
    total = out_BLD.new_zeros(batch * length, width).index_add(
        0, row_BL.flatten(), kept_BLD.flatten(0, 1)
    )
    count = out_BLD.new_zeros(batch * length).index_add(
        0, row_BL.flatten(), real_BL.flatten().float()
    )
    return (total / count.clamp(min=1.0)[:, None]).view(batch, length, width)
