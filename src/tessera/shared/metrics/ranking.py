"""Ranking metrics over the full catalogue, one value an investor, so that any slice is a mean.

Shapes: N investors, K positions of a list (1 is the top), I items.  Lists hold item numbers, -1
where the list is shorter.  An investor may have several relevant items (`relevant_N` of them).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tessera.contracts import arrays
from tessera.contracts.arrays import Bools, Float64s, Ints


def top_items(scores_NI: NDArray[np.floating[Any]], k: int) -> Ints:
    """List the `k` items of highest score, ties in item order, `-inf` never listed.

    Returns
    -------
    Ints
        NK item numbers, best first, -1 where fewer than `k` scores are finite.

    Raises
    ------
    ValueError
        If a score is NaN: it has no place in an order.

    >>> top_items(np.array([[1.0, 3.0, 3.0, -np.inf]]), 4)
    array([[ 1,  2,  0, -1]])
    """
    arrays.shapes(scores_NI=scores_NI)
    if np.isnan(scores_NI).any():
        raise ValueError("scores_NI holds NaN: give -inf to what must not be listed")
    users, items = scores_NI.shape
    depth = min(k, items)
    floor_N1 = np.partition(scores_NI, items - depth, axis=1)[:, items - depth, None]
    above_NI = scores_NI > floor_N1
    tied_NI = scores_NI == floor_N1
    wanted_N1 = depth - above_NI.sum(axis=1, keepdims=True)
    chosen_NI = above_NI | (tied_NI & (np.cumsum(tied_NI, axis=1, dtype=np.int32) <= wanted_N1))
    top_NK = np.nonzero(chosen_NI)[1].reshape(users, depth)
    score_NK = np.take_along_axis(scores_NI, top_NK, axis=1)
    order_NK = np.argsort(-score_NK, axis=1, kind="stable")
    top_NK = np.take_along_axis(top_NK, order_NK, axis=1)
    top_NK[np.isneginf(np.take_along_axis(score_NK, order_NK, axis=1))] = -1
    return np.pad(top_NK, ((0, 0), (0, k - depth)), constant_values=-1)


def hits(top_NK: Ints, relevant_user_R: Ints, relevant_item_R: Ints) -> Bools:
    """Mark the positions that hold a relevant item.

    Parameters
    ----------
    top_NK : Ints
        Lists of item numbers, -1 where empty.
    relevant_user_R, relevant_item_R : Ints
        Pairs of list number (0 to N - 1) and item number; R pairs.

    Raises
    ------
    ValueError
        If shapes or types are others, or a list names an item twice.

    >>> hits(np.array([[4, 2], [2, -1]]), np.array([0, 1]), np.array([2, 4]))
    array([[False,  True],
           [False, False]])
    """
    pairs = {"relevant_user_R": relevant_user_R, "relevant_item_R": relevant_item_R}
    arrays.check(top_NK=top_NK, **pairs)
    arrays.whole(top_NK=top_NK, **pairs)
    arrays.distinct(top_NK=top_NK)
    width = 1 + max(top_NK.max(initial=0), relevant_item_R.max(initial=0))
    key_NK = np.arange(len(top_NK))[:, None] * width + top_NK
    found_NK = np.isin(key_NK, relevant_user_R * width + relevant_item_R)
    return found_NK & (top_NK >= 0)


def hit_rate(hits_NK: Bools, k: int) -> Float64s:
    """1 where at least one of the first `k` is relevant.

    >>> hit_rate(np.array([[False, True], [False, False]]), 2)
    array([1., 0.])
    """
    arrays.check(hits_NK=hits_NK)
    return np.asarray(hits_NK[:, :k].any(axis=1), dtype=np.float64)


def recall(hits_NK: Bools, relevant_N: Ints, k: int) -> Float64s:
    """Share of the relevant items found among the first `k`; 0 where nothing is relevant.

    >>> recall(np.array([[True, True]]), np.array([4]), 2)
    array([0.5])
    """
    arrays.check(hits_NK=hits_NK, relevant_N=relevant_N)
    return np.asarray(hits_NK[:, :k].sum(axis=1) / np.maximum(relevant_N, 1))


def reciprocal_rank(hits_NK: Bools, k: int) -> Float64s:
    """One over the position of the first relevant item among the first `k`, 0 if none.

    >>> reciprocal_rank(np.array([[False, True], [False, False]]), 2)
    array([0.5, 0. ])
    """
    arrays.check(hits_NK=hits_NK)
    first_N = hits_NK[:, :k].argmax(axis=1)
    return np.asarray(hits_NK[:, :k].any(axis=1) / (first_N + 1.0))


def ndcg(hits_NK: Bools, relevant_N: Ints, k: int) -> Float64s:
    """Discounted gain of the first `k` over that of an ideal list; 0 where nothing is relevant.

    Binary gain, discount `1 / log2(position + 1)`; the ideal list puts min(relevant, k) items
    on top (Järvelin & Kekäläinen 2002).

    >>> ndcg(np.array([[False, True]]), np.array([1]), 2).round(4)
    array([0.6309])
    """
    arrays.check(hits_NK=hits_NK, relevant_N=relevant_N)
    arrays.whole(relevant_N=relevant_N)
    width = min(k, hits_NK.shape[1])
    discount_K = 1.0 / np.log2(np.arange(2, k + 2))
    ideal_N = np.cumsum(discount_K)[np.clip(relevant_N, 1, k) - 1]
    return np.asarray((hits_NK[:, :width] @ discount_K[:width]) / ideal_N)
