"""Which ordered pairs of items have enough investors behind them to be worth an estimate.

Legend: N pairs, U investors, I items.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tessera.causal.panel import Trial


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
