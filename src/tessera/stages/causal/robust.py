"""Doubly robust effect of holding one item on acquiring another, cross-fitted by investor.

Among those who do not hold j, both whether i is held and whether j is acquired are regressed on the
confounders x; with a~ and y~ the residuals on investors that neither regression saw,

    effect(i, j) = sum a~ y~ / sum a~^2        stderr^2 = sum over acquisitions of j of a~^2 / (.)^2

(Robinson 1988; Chernozhukov et al., arXiv 1608.00060, eq. 4.4).  It is right if the chance of
holding is linear in the confounders, or if that of acquiring is linear beside a constant effect, up
to the ridge; else what remains confounded is added to it.  It weighs investors by their overlap, so
that nothing is clipped.
An investor acquires j once at most, so the sum over acquisitions is one over investors.

Everything follows from sums of products, hence sparse and without a matrix of investors x pairs.

Legend: N pairs, R rows, I items, D confounders, C causes of one effect, A acquisitions of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from tessera.contracts.arrays import Float64s, Ints
from tessera.stages.causal.confounders import Rows

_LEAST_COMPARED = 0.5
"""Sum of squared residuals below which nobody is compared: less than one even split of two."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over the investors of one part who do not hold the effect."""

    gram_DD: Float64s
    gained_D: Float64s
    """Confounders of those who acquire the effect."""
    held_CD: Float64s
    """Confounders of those who hold each cause."""
    held_C: Float64s
    both_C: Float64s
    """Investors who hold the cause and acquire the effect."""

    def without(self, loading_CD: Float64s) -> tuple[Float64s, Float64s, Float64s]:
        """Gram, holders and acquirers once what each cause adds to the confounders is removed."""
        cross_CDD = self.held_CD[:, :, None] * loading_CD[:, None, :]
        own_CDD = loading_CD[:, :, None] * loading_CD[:, None, :]
        gram_CDD = self.gram_DD - cross_CDD - cross_CDD.transpose(0, 2, 1)
        gram_CDD += self.held_C[:, None, None] * own_CDD
        held_CD = self.held_CD - self.held_C[:, None] * loading_CD
        return gram_CDD, held_CD, self.gained_D - self.both_C[:, None] * loading_CD


def estimate(
    rows: Rows, cause_N: Ints, effect_N: Ints, folds: int, l2: float
) -> tuple[Float64s, Float64s]:
    """Effect and standard error of each pair; the error is infinite where nobody is compared.

    Parameters
    ----------
    rows : Rows
        Everybody under observation.
    cause_N, effect_N : array of int
        Items of each pair.
    folds : int
        Parts of the investors; at least 2.
    l2 : float
        Ridge of the regressions on the confounders.

    Of four who hold item 0 three acquire item 1, of four others one does; with an intercept as the
    only confounder the effect is the difference 3/4 - 1/4.  Every residual of holding is -+ 1/2, so
    the four acquisitions make an error of sqrt(4 / 4) / (8 / 4).

    >>> held = np.array([1, 1, 1, 1, 0, 0, 0, 0.0])
    >>> gained = np.array([1, 1, 1, 0, 1, 0, 0, 0.0])
    >>> zero = np.zeros(8)
    >>> rows = Rows(sparse.csr_array(np.column_stack([held, zero])),
    ...             sparse.csr_array(np.column_stack([zero, gained])),
    ...             np.ones((8, 1)), np.zeros((2, 1)), np.arange(8) % 2)
    >>> effect_N, stderr_N = estimate(rows, np.array([0]), np.array([1]), folds=2, l2=1e-9)
    >>> effect_N.round(6), stderr_N.round(6)
    (array([0.5]), array([0.5]))
    """
    parts = [_Part(rows, fold) for fold in range(folds)]
    sums_N3 = np.zeros((len(cause_N), 3))
    for effect, place_C in _by_effect(effect_N):
        sums_N3[place_C] = _sums(parts, effect, cause_N[place_C], rows.loading_ID, l2)
    product_N, square_N, variance_N = sums_N3.T
    compared_N = square_N > _LEAST_COMPARED
    square_N = np.where(compared_N, square_N, 1.0)
    value_N = np.where(compared_N, product_N / square_N, 0.0)
    # Without any acquisition the variance is 0; one imagined half acquisition bounds it.
    stderr_N = np.sqrt(np.where(variance_N > 0, variance_N, 0.5)) / square_N
    return value_N, np.where(compared_N, stderr_N, np.inf)


def _by_effect(effect_N: Ints) -> Iterator[tuple[int, Ints]]:
    order_N = np.argsort(effect_N, kind="stable")
    effect_E, first_E = np.unique(effect_N[order_N], return_index=True)
    yield from zip(effect_E.tolist(), np.split(order_N, first_E[1:]), strict=True)


def _sums(
    parts: list[_Part], effect: int, cause_C: Ints, loading_ID: Float64s, l2: float
) -> Float64s:
    """Products, squares and variance of the residuals of each cause, over all parts."""
    loading_CD = loading_ID[cause_C]
    found = [part.moments(effect, cause_C) for part in parts]
    sums_C3 = np.zeros((len(cause_C), 3))
    for k, (part, held_out) in enumerate(zip(parts, found, strict=True)):
        hold_CD, gain_CD = _fit([one for j, one in enumerate(found) if j != k], loading_CD, l2)
        gram_CDD, held_CD, gained_CD = held_out.without(loading_CD)
        seen_CD = np.einsum("cde,ce->cd", gram_CDD, hold_CD)
        sums_C3[:, 0] += held_out.both_C - (hold_CD * gained_CD).sum(1)
        sums_C3[:, 0] += (gain_CD * (seen_CD - held_CD)).sum(1)
        sums_C3[:, 1] += held_out.held_C + (hold_CD * (seen_CD - 2 * held_CD)).sum(1)
        trait_AD, held_AC = part.acquirers(effect, cause_C)
        own_C = 1.0 + (loading_CD * hold_CD).sum(1)
        sums_C3[:, 2] += np.square(held_AC * own_C - trait_AD @ hold_CD.T).sum(0)
    return sums_C3


def _fit(found: list[Moments], loading_CD: Float64s, l2: float) -> tuple[Float64s, Float64s]:
    """Ridge coefficients of holding the cause and of acquiring the effect."""
    train = Moments(
        *(
            np.sum([getattr(one, name) for one in found], axis=0)
            for name in Moments.__dataclass_fields__
        )
    )
    gram_CDD, held_CD, gained_CD = train.without(loading_CD)
    ridge_CDD = gram_CDD + l2 * np.eye(gram_CDD.shape[1])
    both_CD2 = np.asarray(
        np.linalg.solve(ridge_CDD, np.stack([held_CD, gained_CD], axis=2)), np.float64
    )
    return both_CD2[:, :, 0], both_CD2[:, :, 1]


class _Part:
    """The rows of one part of the investors, in the orders that the sums need."""

    def __init__(self, rows: Rows, fold: int) -> None:
        mine_R = rows.fold_R == fold
        self._trait_RD = rows.trait_RD[mine_R]
        self._held_RI = rows.held_RI[mine_R]
        self._holders = self._held_RI.tocsc()
        self._buyers = rows.gained_RI[mine_R].tocsc()
        self._gram_DD = self._trait_RD.T @ self._trait_RD
        self._held_ID = self._held_RI.T @ self._trait_RD
        self._held_I = self._held_RI.sum(axis=0)

    def moments(self, effect: int, cause_C: Ints) -> Moments:
        """Sum over those who do not hold the effect."""
        excluded = _rows_of(self._holders, effect)
        trait_RD, held_RI = self._trait_RD[excluded], self._held_RI[excluded]
        gained_AD, held_AC = self.acquirers(effect, cause_C)
        return Moments(
            self._gram_DD - trait_RD.T @ trait_RD,
            gained_AD.sum(axis=0),
            self._held_ID[cause_C] - (held_RI.T @ trait_RD)[cause_C],
            (self._held_I - held_RI.sum(axis=0))[cause_C],
            held_AC.sum(axis=0),
        )

    def acquirers(self, effect: int, cause_C: Ints) -> tuple[Float64s, Float64s]:
        """Confounders of those who acquire the effect, and which causes they hold."""
        chosen = _rows_of(self._buyers, effect)
        return self._trait_RD[chosen], self._held_RI[chosen].toarray()[:, cause_C]


def _rows_of(matrix: sparse.csc_array, column: int) -> Ints:
    found: Ints = matrix.indices[matrix.indptr[column] : matrix.indptr[column + 1]]
    return found
