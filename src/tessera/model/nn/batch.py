"""Batches of sequences, what a pass over them gives, and cutting them where much is padding.

Legend: B sequences, L positions, D width, H heads, E width of a head.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tessera.model.nn.ranking import KVCache

PADDING = 0
_RUN_POSITIONS = 3000
"""Positions of sequences that are padded together where a batch is mostly padding."""
_FULL = 0.8
"""A batch with more events than this share of its cells is not cut up."""


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


@dataclass(frozen=True, slots=True)
class Encoded:
    """One pass over the history, for both heads."""

    state_BLD: Tensor
    """Row g is the state after the g-th distinct time of the sequence."""
    out_BLD: Tensor
    """Output of the trunk at each event."""
    memory: tuple[KVCache, ...]
    """Keys and values of the top layers, for the ranking head; none without one."""


def runs(batch: Batch) -> list[tuple[slice, int]]:
    """Return runs of sequences of similar size, each with the length of its longest.

    Only where much is padding, and in caches: elsewhere cutting up costs more than it gives.
    """
    sequences, width = batch.item_BL.shape
    cells, whole = sequences * width, [(slice(0, sequences), width)]
    if cells <= _RUN_POSITIONS or batch.item_BL.device.type != "cpu":
        return whole
    size_B = (batch.item_BL != PADDING).sum(1).tolist()
    if sum(size_B) > _FULL * cells:
        return whole
    runs, first, longest = [], 0, 1
    for row, size in enumerate(size_B):
        if row > first and (row - first + 1) * max(longest, size) > _RUN_POSITIONS:
            runs.append((slice(first, row), longest))
            first, longest = row, 1
        longest = max(longest, size)
    return [*runs, (slice(first, sequences), longest)]


def cut(batch: Batch, rows: slice, length: int) -> Batch:
    """Return some sequences, cut at a length."""
    return Batch(
        batch.item_BL[rows, :length],
        batch.action_BL[rows, :length],
        batch.second_BL[rows, :length],
        batch.request_BL[rows, :length],
        batch.group_BL[rows, :length],
    )


def join(encoded: list[Encoded], length: int) -> Encoded:
    """Return what was encoded in runs as one, padded to a length."""

    def padded(values: Iterable[Tensor]) -> Tensor:
        return torch.cat(
            [functional.pad(value, (0, 0, 0, length - value.shape[-2])) for value in values]
        )

    layers = zip(*(one.memory for one in encoded), strict=True)
    return Encoded(
        padded(one.state_BLD for one in encoded),
        padded(one.out_BLD for one in encoded),
        tuple(
            KVCache(padded(m.key_BHLE for m in layer), padded(m.value_BHLE for m in layer))
            for layer in layers
        ),
    )
