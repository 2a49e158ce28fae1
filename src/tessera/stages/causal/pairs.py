"""Which ordered pairs of items have enough investors behind them to be worth an estimate.

Legend: N pairs, B pairs in both directions, U investors, I items.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tessera.stages.causal.panel import Trial


@dataclass(frozen=True, slots=True)
class Pairs:
    """Ordered pairs of items worth an estimate."""

    cause_N: NDArray[np.int64]
    effect_N: NDArray[np.int64]
    support_N: NDArray[np.int64]
    """Investors who acquired the effect in a trial at whose start they held the cause."""


def supported_pairs(trials: Iterable[Trial], least_support: int, limit: int) -> Pairs:
    """Find the pairs of largest support; ties in order of the items."""
    total: sparse.csr_array | None = None
    for trial in trials:
        both_II = (trial.held_UI.T @ trial.gained_UI).tocsr()
        total = both_II if total is None else total + both_II
    if total is None:
        empty = np.zeros(0, np.int64)
        return Pairs(empty, empty, empty)
    pairs = total.tocoo()
    enough = pairs.data >= least_support
    cause, effect, support = pairs.row[enough], pairs.col[enough], pairs.data[enough]
    kept = np.lexsort((effect, cause, -support))[:limit]
    kept = kept[np.lexsort((effect[kept], cause[kept]))]
    return Pairs(
        cause[kept].astype(np.int64), effect[kept].astype(np.int64), support[kept].astype(np.int64)
    )


@dataclass(frozen=True, slots=True)
class BothWays:
    """The pairs followed by those of their reverses that are not among them."""

    cause_B: NDArray[np.int64]
    effect_B: NDArray[np.int64]
    back_N: NDArray[np.int64]
    """Place of the reverse of each pair."""
    once_N: NDArray[np.bool_]
    """Each two items once."""


def both_ways(pairs: Pairs) -> BothWays:
    """Add the reverse of every pair, which need not be supported itself.

    Of the pairs (0, 1), (1, 0), (1, 2) only (2, 1) is added; their reverses lie at 1, 0, 3.
    """
    cause_N, effect_N = pairs.cause_N, pairs.effect_N
    size = int(max(cause_N.max(initial=-1), effect_N.max(initial=-1))) + 1
    key_N, turned_N = cause_N * size + effect_N, effect_N * size + cause_N
    added = np.setdiff1d(turned_N, key_N)
    key_B = np.r_[key_N, added]
    order_B = np.argsort(key_B)
    back_N = order_B[np.searchsorted(key_B, turned_N, sorter=order_B)]
    once_N = (back_N >= len(key_N)) | (cause_N < effect_N)
    return BothWays(
        np.r_[cause_N, added // max(size, 1)], np.r_[effect_N, added % max(size, 1)], back_N, once_N
    )
