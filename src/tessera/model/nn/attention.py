"""Pointwise attention in tiles that fit the caches; only what may be seen is computed.

Scores, their SiLU and their gradients live in one tile at a time; of many scores the backward pass
computes each again, so that memory grows with the length of the sequences and not with its square.

Legend: B sequences, L positions, H heads, E width of a head, K time buckets, N constant of the
attention, S sequences, R rows and C columns of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tessera.model.nn.tiles import Tile, View

_KEPT_CELLS = 8_000_000
"""Up to so many scores the backward pass finds them kept, beyond it computes them again."""


@dataclass(frozen=True, slots=True)
class Bias:
    """What is added to the scores, shared by the heads; None leaves a part out."""

    position: Tensor | None
    """2 N - 1 numbers; the one of distance d is at N - 1 + d."""
    time: Tensor | None
    """One number for each bucket."""
    extra: Tensor | None
    """A scalar that the view's extra numbers are multiplied with."""


def attend(q_BHLE: Tensor, k_BHLE: Tensor, v_BHLE: Tensor, bias: Bias, view: View) -> Tensor:
    """Return seen_BHLE: for each row the sum of SiLU(q k + bias) v over the columns it may see."""
    seen_BHLE: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        q_BHLE, k_BHLE, v_BHLE, bias.position, bias.time, bias.extra, view
    )
    return seen_BHLE


class _Attention(torch.autograd.Function):
    """Forward and backward, tile by tile."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        q_BHLE, k_BHLE, v_BHLE, position, time, extra, view = given
        ctx.save_for_backward(q_BHLE, k_BHLE, v_BHLE, position, time, extra)
        ctx.view, ctx.scores = view, []
        bias = _TiledBias(Bias(position, time, extra), view, q_BHLE.dtype)
        seen_BHLE = torch.empty_like(v_BHLE, memory_format=torch.contiguous_format)
        cells = sum(tile.bucket_SRC.numel() for tile in view.tiles)
        keeps = any(ctx.needs_input_grad) and cells <= _KEPT_CELLS
        for tile in view.tiles:
            score_SRC = _score(q_BHLE, k_BHLE, tile, bias)
            weight_SRC = torch.nn.functional.silu(score_SRC, inplace=not keeps)
            if keeps:
                ctx.scores.append(score_SRC)
            seen_SRE = _hide(weight_SRC, tile, view) @ _rows(v_BHLE, tile.of, tile.columns)
            seen_BHLE[tile.of, :, tile.rows] = _by_sequence(seen_SRE, v_BHLE)
        return seen_BHLE

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q_BHLE, k_BHLE, v_BHLE, position, time, extra = ctx.saved_tensors
        view = ctx.view
        bias = _TiledBias(Bias(position, time, extra), view, q_BHLE.dtype)
        (dseen_BHLE,) = grads
        dq_BHLE, dk_BHLE, dv_BHLE = (
            torch.zeros_like(part, memory_format=torch.contiguous_format)
            for part in (q_BHLE, k_BHLE, v_BHLE)
        )
        for index, tile in enumerate(view.tiles):
            of, rows, columns = tile.of, tile.rows, tile.columns
            kept = ctx.scores
            score_SRC = kept[index] if kept else _score(q_BHLE, k_BHLE, tile, bias)
            weight_SRC = _hide(torch.nn.functional.silu(score_SRC), tile, view)
            dseen_SRE = _rows(dseen_BHLE, of, rows)
            dv_SCE = weight_SRC.transpose(1, 2) @ dseen_SRE
            dv_BHLE[of, :, columns] += _by_sequence(dv_SCE, v_BHLE)
            dweight_SRC = torch.bmm(
                dseen_SRE, _rows(v_BHLE, of, columns).transpose(1, 2), out=weight_SRC
            )
            dscore_SRC = torch.ops.aten.silu_backward.grad_input(
                dweight_SRC, score_SRC, grad_input=dweight_SRC
            )
            _hide(dscore_SRC, tile, view)
            dq_BHLE[of, :, rows] = _by_sequence(dscore_SRC @ _rows(k_BHLE, of, columns), q_BHLE)
            dk_SCE = dscore_SRC.transpose(1, 2) @ _rows(q_BHLE, of, rows)
            dk_BHLE[of, :, columns] += _by_sequence(dk_SCE, k_BHLE)
            bias.learn(dscore_SRC, tile)
        return dq_BHLE, dk_BHLE, dv_BHLE, *bias.gradients(), None


def _rows(part_BHLE: Tensor, of: slice, rows: slice) -> Tensor:
    """Sequences and heads side by side, as one batch of matrices; no copy with one head."""
    return part_BHLE[of, :, rows].flatten(0, 1)


def _by_sequence(part_SRE: Tensor, like_BHLE: Tensor) -> Tensor:
    return part_SRE.view(-1, like_BHLE.shape[1], *part_SRE.shape[1:])


def _score(q_BHLE: Tensor, k_BHLE: Tensor, tile: Tile, bias: _TiledBias) -> Tensor:
    q_SRE, k_SCE = _rows(q_BHLE, tile.of, tile.rows), _rows(k_BHLE, tile.of, tile.columns)
    added = bias.of(tile, heads=q_BHLE.shape[1])
    if added is None:
        return q_SRE @ k_SCE.transpose(1, 2)
    return added.baddbmm_(q_SRE, k_SCE.transpose(1, 2))


def _hide(value_SRC: Tensor, tile: Tile, view: View) -> Tensor:
    """Put zeros, in place, where the row may not see the column."""
    if tile.steps_SRC is not None:
        hidden_SRC = tile.steps_SRC < 0
        if view.window is not None:
            hidden_SRC = hidden_SRC | (tile.steps_SRC >= view.window)
        heads = len(value_SRC) // len(hidden_SRC)
        value_SRC.view(-1, heads, *hidden_SRC.shape[1:]).masked_fill_(hidden_SRC[:, None], 0.0)
        return value_SRC
    offset = tile.rows.start - tile.columns.start
    value_SRC.tril_(offset)
    if view.window is not None:
        value_SRC.triu_(offset - view.window + 1)
    return value_SRC


class _TiledBias:
    """Looks the bias up for a tile in the type of the scores, and gathers the tables' gradients.

    These are sums over many scores, and at least float32.
    """

    def __init__(self, bias: Bias, view: View, dtype: torch.dtype) -> None:
        tables = (bias.position, bias.time, bias.extra)
        bias = Bias(*(None if table is None else table.to(dtype) for table in tables))
        self.bias, self.view, self.dtype = bias, view, dtype
        self.sum_dtype = torch.promote_types(dtype, torch.float32)
        if bias.position is not None:
            self.near_N = bias.position[bias.position.numel() // 2 :]
            self.position_LL = _look_up(self.near_N, view.distance_LL)
            self.dposition_LL = torch.zeros_like(self.position_LL, dtype=self.sum_dtype)
        self.dtables: dict[str, Tensor] = {}
        self._most_rows = max(tile.bucket_SRC.shape[:2].numel() for tile in view.tiles)
        self.dextra: Tensor | None = None

    def of(self, tile: Tile, heads: int) -> Tensor | None:
        """Return bias_SRC, one matrix for each sequence and head; None without any bias."""
        bias, parts = self.bias, []
        if bias.time is not None:
            parts.append(_look_up(bias.time, tile.bucket_SRC))
        if bias.position is not None and tile.steps_SRC is not None:
            parts.append(_look_up(self.near_N, tile.steps_SRC.clamp(min=0)))
        elif bias.position is not None:
            parts.append(self.position_LL[tile.rows, tile.columns])
        if bias.extra is not None and tile.extra_SRC is not None:
            parts.append((bias.extra * tile.extra_SRC).to(self.dtype))
        if not parts:
            return None
        total_SRC = parts[0]
        for part in parts[1:]:
            total_SRC = total_SRC.add_(part) if total_SRC.dim() == 3 else total_SRC + part
        total_SRC = total_SRC.expand(tile.bucket_SRC.shape)
        return total_SRC.repeat_interleave(heads, 0) if heads > 1 else total_SRC.contiguous()

    def learn(self, dscore_SRC: Tensor, tile: Tile) -> None:
        """Add what a tile says about the tables."""
        dscore_SRC, sequences = dscore_SRC.to(self.sum_dtype), len(tile.bucket_SRC)
        if len(dscore_SRC) > sequences:
            dscore_SRC = dscore_SRC.view(sequences, -1, *dscore_SRC.shape[1:]).sum(1)
        bias = self.bias
        if bias.time is not None:
            self._histogram("time", len(bias.time), tile.bucket_SRC, dscore_SRC)
        if bias.position is not None and tile.steps_SRC is not None:
            self._histogram("position", len(self.near_N), tile.steps_SRC.clamp(min=0), dscore_SRC)
        elif bias.position is not None:
            self.dposition_LL[tile.rows, tile.columns] += dscore_SRC.sum(0)
        if bias.extra is not None and tile.extra_SRC is not None:
            added = (dscore_SRC * tile.extra_SRC).sum()
            self.dextra = added if self.dextra is None else self.dextra + added

    def _histogram(self, name: str, size: int, index_SRC: Tensor, value_SRC: Tensor) -> None:
        """Add into one histogram for each row of a tile: rows can be added in parallel."""
        rows = index_SRC.shape[0] * index_SRC.shape[1]
        if name not in self.dtables:
            self.dtables[name] = value_SRC.new_zeros(self._most_rows, size)
        self.dtables[name][:rows].scatter_add_(
            1, index_SRC.flatten(0, 1).long(), value_SRC.flatten(0, 1)
        )

    def gradients(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of position, time and extra."""
        bias = self.bias
        dposition = None
        if bias.position is not None:
            dposition = torch.zeros_like(bias.position, dtype=self.sum_dtype)
            near_N = dposition[len(dposition) // 2 :]
            near_N.scatter_add_(0, self.view.distance_LL.flatten(), self.dposition_LL.flatten())
            if "position" in self.dtables:
                near_N += self.dtables["position"].sum(0)
        dtime = self.dtables["time"].sum(0) if "time" in self.dtables else None
        return dposition, dtime, self.dextra


def _look_up(table_K: Tensor, index_SRC: Tensor) -> Tensor:
    """table[index]; gather along rows is several times faster than indexing."""
    index_NC = index_SRC.flatten(0, -2).long()
    found_NC = table_K.expand(len(index_NC), -1).gather(1, index_NC)
    return found_NC.view(index_SRC.shape)
