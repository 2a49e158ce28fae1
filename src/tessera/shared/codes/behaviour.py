"""Whether codes know what investors do: how often items of one code are acquired together.

Embedding hit-rate and behaviour-aware matching are named in DRQ (arXiv 2606.01844); how chance is
taken out is ours: ends of pairs are dealt out anew, each item keeping how often it is in one.

Legend: N items, L levels, D vector width, P pairs of items acquired by one investor, R random ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from tessera.contracts.arrays import Float64s, Ints

_PAIRS = 20_000
"""Pairs whose distances are compared; of more, so many at even steps of their weight."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Items that were acquired by the same investors."""

    one_P: Ints
    other_P: Ints
    weight_P: Float64s
    """Investors behind each."""

    @property
    def total(self) -> float:
        """Weight of all of them."""
        return float(self.weight_P.sum())


def hit_rates(code_NL: Ints, pairs: Pairs) -> list[tuple[float, float]] | None:
    """Tell how often items acquired together begin with the same code, and how often by chance.

    Parameters
    ----------
    code_NL : Ints
        Codes, without suffix.
    pairs : Pairs
        Rows of items acquired together.

    Returns
    -------
    list or None
        By level: share of the pairs that have this and all levels above in common, and that share
        among pairs whose ends were dealt out anew.  None without pairs.

    Three items: two of one code were had together by three investors, two of two codes by one.

    >>> pairs = Pairs(np.array([0, 1]), np.array([1, 2]), np.array([3.0, 1.0]))
    >>> hit_rates(np.array([[5], [5], [7]]), pairs)
    [(0.75, 0.631578947368421)]
    """
    if pairs.total <= 0:
        return None
    strength_N = _strengths(len(code_NL), pairs)
    found, group_N = [], np.zeros(len(code_NL), np.int64)
    for code_N in code_NL.T:
        group_N = np.unique(np.stack([group_N, code_N], axis=1), axis=0, return_inverse=True)[1]
        group_N = group_N.reshape(-1)
        together_P = group_N[pairs.one_P] == group_N[pairs.other_P]
        rate = float(pairs.weight_P[together_P].sum()) / pairs.total
        found.append((rate, _chance(group_N, strength_N)))
    return found


def _strengths(items: int, pairs: Pairs) -> Float64s:
    ends = np.concatenate([pairs.one_P, pairs.other_P])
    return np.bincount(ends, np.tile(pairs.weight_P, 2), items).astype(np.float64)


def _chance(group_N: Ints, strength_N: Float64s) -> float:
    """Chance that two ends lie in one group; an item is no pair with itself."""
    alone = float(np.sum(strength_N**2))
    by_group = np.bincount(group_N, strength_N)
    every = float(strength_N.sum()) ** 2 - alone
    return (float(np.sum(by_group**2)) - alone) / every if every > 0 else 1.0


def soft_matching(known_ND: Float64s, pairs: Pairs, seed: int) -> float | None:
    """Chance that two items acquired together lie nearer than two random ones, by their codes.

    A near miss counts for something here, which the hit-rate does not see.  Random pairs are drawn
    by how often an item is in a pair; equal distances count half.

    Parameters
    ----------
    known_ND : Float64s
        Vector that each item's code stands for.
    pairs : Pairs
        Rows of items acquired together.
    seed : int
        Of the random pairs.

    Returns
    -------
    float or None
        .5 if codes know nothing of behaviour (an area under the ROC curve); None without pairs.
    """
    if pairs.total <= 0:
        return None
    step_P = (np.arange(min(_PAIRS, 4 * len(pairs.one_P))) + 0.5) * pairs.total
    at_P = np.searchsorted(np.cumsum(pairs.weight_P), step_P / len(step_P))
    at_P = np.minimum(at_P, len(pairs.one_P) - 1)
    strength_N = _strengths(len(known_ND), pairs)
    rng = np.random.default_rng(seed)
    one_R, other_R = (
        rng.choice(len(known_ND), _PAIRS, p=strength_N / strength_N.sum()) for _ in range(2)
    )
    is_pair_R = one_R != other_R
    near_P = _gaps(known_ND, pairs.one_P[at_P], pairs.other_P[at_P])
    near_R = _gaps(known_ND, one_R[is_pair_R], other_R[is_pair_R])
    rank = rankdata(np.concatenate([near_P, near_R]))[: len(near_P)]
    above = rank.sum() - len(near_P) * (len(near_P) + 1) / 2
    return float(1.0 - above / (len(near_P) * len(near_R)))


def _gaps(known_ND: Float64s, one_P: Ints, other_P: Ints) -> Float64s:
    return np.asarray(np.round(np.sum((known_ND[one_P] - known_ND[other_P]) ** 2, axis=1), 9))
