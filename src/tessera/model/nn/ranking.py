"""The ranking head: candidates of a request look at the history's cached keys and values.

A candidate enters the top layers as one more query at the request's time: it sees every event
before the request and nothing else, so candidates cannot influence each other and the history is
encoded once however many they are (M-FALCON).  Zhai et al. 2024, arXiv 2402.17152, section 3.4;
UniPinRec, arXiv 2606.00422; queries of the candidates alone: SORT, arXiv 2603.03988.

Legend: B sequences, L positions, N requests, R most requests of a sequence, M candidates of a
request, S rows, D width, H heads, E width of a head, F features, T tasks, V items with padding
first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tessera.model.nn.layer import HstuLayer
from tessera.model.nn.lookup import look_up
from tessera.model.nn.saved_names import saved_as
from tessera.model.nn.tiles import time_bucket

Task = Literal["click", "buy", "dismiss", "hold"]
TASKS: tuple[Task, ...] = ("click", "buy", "dismiss", "hold")
"""`hold` is bought and not sold again within the horizon."""
CLICK, BUY, DISMISS, HOLD = range(len(TASKS))
POSITIONS = 16
"""Positions of a slate from which the last of the table answers for all."""
_EPS = 1e-6
_INIT_STD = 0.02
CAP = 4.0
"""Served scores are cut here: one request must not decide a verdict."""
_FAR = 5.0
"""Standardised features are cut here."""


@dataclass(frozen=True, slots=True)
class RankingBatch:
    """Requests beside the sequences of a batch; items are 0 where there is no candidate."""

    sequence_N: Tensor
    """Sequence whose user asked."""
    slot_N: Tensor
    """Requests of the same sequence in the batch before this one."""
    second_N: Tensor
    """When the request was made."""
    state_N: Tensor
    """Last distinct time of the sequence before the request; -1 without any."""
    item_NM: Tensor
    position_NM: Tensor
    """Where it was shown, 1 at the top; 0 where there is no candidate."""
    feature_NMF: Tensor
    """NaN where unknown."""


@dataclass(frozen=True, slots=True)
class RankingLabels:
    """What came of the candidates of `RankingBatch`."""

    label_NMT: Tensor
    weight_NMT: Tensor
    """0 where nobody knows, or there is no candidate."""


@dataclass(frozen=True, slots=True)
class KVCache:
    """What the candidates of a layer may look at; computed once for a history."""

    key_BHLE: Tensor
    value_BHLE: Tensor


class RankingHead(nn.Module):
    """How candidates enter the trunk's top layers, and the net that says what comes of them."""

    mean_F: Tensor
    std_F: Tensor
    level: Tensor
    spread: Tensor

    def __init__(self, width: int, features: int, build: Callable[[int, int], nn.Module]) -> None:
        """Build the net for so many inputs and tasks by `build`."""
        super().__init__()
        self.candidate_D = nn.Parameter(torch.empty(width).normal_(0, _INIT_STD))
        self.position_PT = nn.Parameter(torch.zeros(POSITIONS + 1, len(TASKS)))
        self.net = build(inputs(width, features), len(TASKS))
        self.register_buffer("mean_F", torch.zeros(features))
        self.register_buffer("std_F", torch.ones(features))
        self.register_buffer("level", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        saved_as(self, "net", "")

    def standardise(self, parts: Callable[[], Iterable[Tensor]]) -> None:
        """Take mean and spread of the features from training rows; NaN counts for neither.

        `parts` gives the rows, some feature_SF at a time, as often as it is called.
        """
        count_F, sum_F, square_F = (torch.zeros_like(self.mean_F).double() for _ in range(3))
        for feature_SF in parts():
            known_SF = feature_SF.isfinite()
            count_F += known_SF.sum(0)
            sum_F += torch.where(known_SF, feature_SF, 0.0).double().sum(0)
        count_F.clamp_(min=1)
        mean_F = sum_F / count_F
        for feature_SF in parts():
            gap_SF = torch.where(feature_SF.isfinite(), feature_SF.double() - mean_F, 0.0)
            square_F += (gap_SF**2).sum(0)
        square_F /= count_F
        self.mean_F.copy_(mean_F)
        self.std_F.copy_(torch.where(square_F > _EPS, square_F.sqrt(), 1.0))

    def calibrate(self, logit_ST: Tensor) -> None:
        """Take level and spread of the log odds from rows like those that will be served."""
        odds_S = answered_logit(logit_ST)
        self.level.copy_(odds_S.mean())
        self.spread.copy_(odds_S.std(correction=0).clamp(min=_EPS))

    def score(self, logit_NMT: Tensor) -> Tensor:
        """Return the log odds of a click or a purchase in units of their usual spread."""
        return ((answered_logit(logit_NMT) - self.level) / self.spread).clamp(-CAP, CAP)

    def chances(self, logit_NT: Tensor, position_N: Tensor) -> Tensor:
        """Return the probability of each task where items stand, from log odds at the top.

        Parameters
        ----------
        logit_NT
            What `forward` gives at position 1; any dimensions before the last.
        position_N
            Where the items stand, from 1.
        """
        bias_NT = self.position_PT[position_N.clamp(max=POSITIONS)]
        return (logit_NT - self.position_PT[1] + bias_NT).sigmoid()

    def forward(
        self, out_NMD: Tensor, vector_NMD: Tensor, cosine_NM: Tensor, asked: RankingBatch
    ) -> Tensor:
        """Return logit_NMT from the attended state, the candidate and the features."""
        feature_NMF = (asked.feature_NMF - self.mean_F) / self.std_F
        parts = (
            functional.layer_norm(out_NMD, out_NMD.shape[-1:], eps=_EPS),
            functional.layer_norm(vector_NMD, vector_NMD.shape[-1:], eps=_EPS),
            cosine_NM[..., None] * vector_NMD.shape[-1] ** 0.5,
            feature_NMF.nan_to_num(0.0).clamp(-_FAR, _FAR),
        )
        logit_NMT: Tensor = self.net(torch.cat(parts, dim=-1))
        return logit_NMT + self.position_PT[asked.position_NM.clamp(max=POSITIONS)]


def inputs(width: int, features: int) -> int:
    """Return how many numbers the net is told of a candidate."""
    return 2 * width + 1 + features


def remember(layer: HstuLayer, x_BLD: Tensor) -> KVCache:
    """Return the keys and values of a layer from its input."""
    return KVCache(*layer.keys_values(x_BLD))


def look_back(
    layer: HstuLayer, x_NMD: Tensor, asked: RankingBatch, memory: KVCache, sight: AttentionView
) -> Tensor:
    """Pass candidates through a layer in which only the history has keys and values."""
    width = x_NMD.shape[-1]
    gate_DD, _, query_DD, _ = layer.uvqk.chunk(4, dim=1)
    mixed = functional.layer_norm(x_NMD, (width,), eps=_EPS) @ torch.cat([gate_DD, query_DD], 1)
    gate_NMD, query_NMD = functional.silu(mixed).chunk(2, dim=-1)
    batch, requests, length = sight.seen_BRL.shape
    query_BHCE = _by_head(_spread(query_NMD, asked, batch, requests).flatten(1, 2), layer.heads)
    score_BHCL = query_BHCE @ memory.key_BHLE.transpose(-1, -2)
    score_BHRML = score_BHCL.view(batch, layer.heads, requests, -1, length)
    weight = functional.silu(score_BHRML + sight.bias(layer)[:, None])
    # To multiply is several times faster than to fill.
    weight = (weight * sight.seen_BRL[:, None, :, None].to(weight.dtype)).view_as(score_BHCL)
    seen_BCD = ((weight @ memory.value_BHLE) / layer.bias.length).transpose(1, 2).flatten(2)
    seen_NMD = _gather(seen_BCD.view(batch, requests, -1, width), asked)
    gated_NMD = gate_NMD * functional.layer_norm(seen_NMD, (width,), eps=_EPS)
    out_NMD: Tensor = layer.out(functional.dropout(gated_NMD, layer.dropout, layer.training))
    return out_NMD + x_NMD


def _spread(value: Tensor, asked: RankingBatch, batch: int, requests: int) -> Tensor:
    """Lay rows of requests beside their sequences, zeros where a sequence has fewer."""
    if requests == 1 and len(value) == batch:
        return value[:, None]
    row_N = asked.sequence_N * requests + asked.slot_N
    laid = value.new_zeros(batch * requests, *value.shape[1:]).index_copy(0, row_N, value)
    return laid.view(batch, requests, *value.shape[1:])


def _gather(value: Tensor, asked: RankingBatch) -> Tensor:
    """Undo `_spread`."""
    batch, requests = value.shape[:2]
    if requests == 1 and len(asked.slot_N) == batch:
        return value[:, 0]
    return value.flatten(0, 1).index_select(0, asked.sequence_N * requests + asked.slot_N)


def _by_head(part_BLD: Tensor, heads: int) -> Tensor:
    batch, length, width = part_BLD.shape
    return part_BLD.view(batch, length, heads, width // heads).transpose(1, 2)


@dataclass(frozen=True, slots=True)
class Lookback:
    """How far back a candidate looks."""

    length: int
    """Steps that are told apart."""
    window: int | None = None
    """Distinct times, its own included; None looks all the way."""


@dataclass(frozen=True, slots=True)
class AttentionView:
    """What the requests of each sequence may look at, and from how far; the same for all layers."""

    seen_BRL: Tensor
    """True at the events strictly before the request and in the window, never at padding."""
    steps_BRL: Tensor
    """Distinct times from the event to the candidate, one step behind the last event seen."""
    bucket_BRL: Tensor
    """Time bucket between the request and the event."""
    edge_BRML: Tensor | None = None
    """Weight of the edge from the event's item to the candidate."""

    @classmethod
    def of(
        cls,
        asked: RankingBatch,
        group_BL: Tensor,
        second_BL: Tensor,
        reach: Lookback,
        edge_NML: Tensor | None = None,
    ) -> AttentionView:
        """Work it out from the requests and the histories beside them."""
        requests = int(asked.slot_N.max()) + 1
        # A slot without request sees nothing: every group is above -1.
        state_BR = _spread(asked.state_N + 1, asked, len(group_BL), requests) - 1
        second_BR = _spread(asked.second_N, asked, len(group_BL), requests)
        steps_BRL = state_BR[:, :, None] + 1 - group_BL[:, None]
        seen_BRL = steps_BRL > 0
        return cls(
            seen_BRL if reach.window is None else seen_BRL & (steps_BRL < reach.window),
            steps_BRL.clamp(0, reach.length - 1),
            time_bucket(second_BR[:, :, None] - second_BL[:, None]),
            None if edge_NML is None else _spread(edge_NML, asked, len(group_BL), requests),
        )

    def bias(self, layer: HstuLayer) -> Tensor:
        """Return bias_BRML of a layer, shared by its heads; M is 1 if candidates share it too."""
        bias_BRL = torch.zeros(self.steps_BRL.shape, device=self.steps_BRL.device)
        if layer.bias.position is not None:
            steps_BRL = self.steps_BRL + layer.bias.length - 1
            bias_BRL = bias_BRL + look_up(layer.bias.position, steps_BRL)
        if layer.bias.time is not None:
            bias_BRL = bias_BRL + look_up(layer.bias.time, self.bucket_BRL)
        bias_BRML = bias_BRL[:, :, None]
        if layer.bias.extra is not None and self.edge_BRML is not None:
            bias_BRML = bias_BRML + layer.bias.extra * self.edge_BRML
        return bias_BRML


def answered_logit(logit: Tensor) -> Tensor:
    """Log odds of a click or a purchase, given the logits of all tasks in the last dimension."""
    neither = functional.logsigmoid(-logit[..., CLICK]) + functional.logsigmoid(-logit[..., BUY])
    return torch.log(-torch.expm1(neither)) - neither
