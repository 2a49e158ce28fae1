"""How a block of the item vector is brought to spread 1, so that its weight is its spread.

Legend: N items, V items that the block knows, W width of the block.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrays import Float64s


def by_direction(block_NW: Float64s) -> tuple[Float64s, Float64s]:
    """Mean [W] and one scale [1] for all columns, which keep their relative sizes."""
    return block_NW.mean(axis=0), _inverse(np.sqrt(block_NW.var(axis=0).sum(keepdims=True)))


def by_known_direction(block_NW: Float64s) -> tuple[Float64s, Float64s]:
    """Do the same over the items that are known; rows of NaN say nothing."""
    return by_direction(_known(block_NW))


def by_measure(block_NW: Float64s) -> tuple[Float64s, Float64s]:
    """Mean [W] and scale [W] that lets each column count alike; rows of NaN say nothing."""
    seen_VW = _known(block_NW)
    return seen_VW.mean(axis=0), _inverse(seen_VW.std(axis=0) * np.sqrt(block_NW.shape[1]))


def _known(block_NW: Float64s) -> Float64s:
    """Rows of known items; one of zeros if there are none."""
    seen_VW = block_NW[~np.isnan(block_NW[:, 0])]
    return seen_VW if len(seen_VW) else np.zeros((1, block_NW.shape[1]))


def _inverse(spread: Float64s) -> Float64s:
    """Scale that makes the spread 1; 0 for what does not vary."""
    return np.where(spread > 1e-12, 1.0 / np.maximum(spread, 1e-12), 0.0)
