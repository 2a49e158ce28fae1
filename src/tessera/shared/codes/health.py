"""How well codes use their codebook: few crowded codewords mean items that cannot be told apart.

Legend: N items, L levels, K codewords of a level.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tessera.contracts.arrays import Ints


def level_health(code_N: Ints, size: int) -> dict[str, float]:
    """Use of one level.

    Returns
    -------
    dict
        `used` codewords; `perplexity`, the exponential of the entropy of their use; `gini` of
        their use over the whole codebook, 0 if even; `overlap`, the probability that two random
        items share one.
    """
    count_K = np.bincount(code_N, minlength=size).astype(np.float64)
    share_K = count_K / max(count_K.sum(), 1.0)
    used = share_K > 0
    entropy = -np.sum(share_K[used] * np.log(share_K[used]))
    n = len(code_N)
    together = np.sum(count_K * (count_K - 1.0)) / max(n * (n - 1.0), 1.0)
    return {
        "used": float(used.sum()),
        "perplexity": float(np.exp(entropy)),
        "gini": gini(count_K),
        "overlap": float(together),
    }


def gini(count_K: NDArray[np.float64]) -> float:
    """Gini coefficient of non-negative counts; 0 if all are equal or zero."""
    if count_K.sum() == 0:
        return 0.0
    ordered_K = np.sort(count_K)
    rank_K = np.arange(1, len(ordered_K) + 1)
    weighted = 2.0 * np.sum(rank_K * ordered_K) / (len(ordered_K) * ordered_K.sum())
    return float(weighted - (len(ordered_K) + 1.0) / len(ordered_K))


def collision_rate(code_NL: Ints) -> float:
    """Share of items that have no code of their own: (items - distinct codes) / items."""
    if len(code_NL) == 0:
        return 0.0
    return 1.0 - len(np.unique(code_NL, axis=0)) / len(code_NL)


def capacity(code_NL: Ints) -> float:
    """How many equally frequent whole codes would tell items apart as well, by the items.

    Levels depend on each other, so the inverse Simpson index is taken of whole codes, never of the
    product of levels.  Without the collision suffix: with it every code is distinct.

    Parameters
    ----------
    code_NL : Ints
        Codewords of each item, the suffix left out; at least one row.

    Returns
    -------
    float
        1 / (N sum of squared shares): 1 if no two items share a code, 1 / N if all do.

    >>> capacity(np.array([[0, 0], [0, 0], [1, 0], [1, 1]]))  # shares 1/2, 1/4, 1/4
    0.6666666666666666
    """
    count = np.unique(code_NL, axis=0, return_counts=True)[1]
    return float(len(code_NL) / np.sum(count.astype(np.float64) ** 2))


def expected_shared(code_NL: Ints) -> float:
    """Mean number of leading codewords that two random items have in common."""
    n = len(code_NL)
    total = 0.0
    for level in range(code_NL.shape[1]):
        count = np.unique(code_NL[:, : level + 1], axis=0, return_counts=True)[1]
        total += float(np.sum(count * (count - 1.0)))
    return total / max(n * (n - 1.0), 1.0)
