"""Learnt tables with few rows and many readers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Lookup(torch.autograd.Function):
    """table[index] whose gradient is a histogram: several times faster than index_put."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.size = table.numel()
        return table[index]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        weights = grads[0].reshape(-1).double()
        total = torch.bincount(index.reshape(-1), weights=weights, minlength=ctx.size)
        return total.to(grads[0].dtype), None


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """Return the entries of a one-dimensional table, in the shape of the index."""
    found: Tensor = _Lookup.apply(table, index)  # type: ignore[no-untyped-call]
    return found
