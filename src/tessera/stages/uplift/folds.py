"""Who is held back from which model: folds of investors, drawn by a hash and never by row order.

An investor's requests resemble each other, so folds of rows would let a model see the investor it
is tested on.  Cross-fitting: Chernozhukov et al., arXiv 1608.00060.

Shapes: R trials.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from tessera.contracts.arrays import Float64s, Ints

_BYTES = 8
"""Of the digest; far more than folds, so that the remainder favours none."""


def fold_of(user_id: str, folds: int, seed: int) -> int:
    """Return the fold of an investor: the same in every log that he appears in.

    >>> fold_of("u1", 3, seed=7) == fold_of("u1", 3, seed=7)
    True
    """
    digest = hashlib.sha256(f"{seed}:{user_id}".encode()).digest()
    return int.from_bytes(digest[:_BYTES], "big") % folds


def folds_of(user_ids: pa.ChunkedArray, folds: int, seed: int) -> Ints:
    """Return the fold of the investor of each trial."""
    coded = user_ids.combine_chunks().dictionary_encode()
    fold_U = np.array(
        [fold_of(user_id, folds, seed) for user_id in coded.dictionary.to_pylist()], dtype=np.int64
    )
    return np.asarray(fold_U[coded.indices.to_numpy()], dtype=np.int64)


def ranks(score_R: Float64s, fold_R: Ints, rng: np.random.Generator) -> Float64s:
    """Rank scores inside their fold, from 0 to 1, ties in random order.

    Scores of two models do not compare: the model of a fold whose investors respond strongly has
    seen the others, and predicts less.  Pooling raw scores would hold that against the learner.

    >>> ranks(np.array([0.1, 9.0, 0.2, 8.0]), np.array([0, 1, 0, 1]), np.random.default_rng(0))
    array([0.25, 0.75, 0.75, 0.25])
    """
    rank_R = np.empty(len(score_R))
    order_R = np.lexsort((rng.random(len(score_R)), score_R, fold_R))
    size_R = np.bincount(fold_R)[fold_R[order_R]]
    first_R = np.searchsorted(fold_R[order_R], fold_R[order_R])
    rank_R[order_R] = (np.arange(len(score_R)) - first_R + 0.5) / size_R
    return rank_R
