"""Residual k-means of more vectors than memory holds: each step reads one batch (Sculley 2010).

Legend: N items, B batch, D vector width, K codewords of a level.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from tessera.contracts.arrays import Float64s, Ints
from tessera.contracts.progress import progress_bar
from tessera.stages.sid.codebooks import ResidualKMeans
from tessera.stages.sid.kmeans import kmeans, nearest
from tessera.stages.sid.params import SidParams

_A_CODEWORD = 32
"""A batch holds at least so many items a codeword, so that few codewords go without any."""


def fit(
    vector_ND: Float64s,
    size: int,
    params: SidParams,
    linked_NN: sparse.csr_array,  # noqa: ARG001
) -> ResidualKMeans:
    """Cluster level by level; of `vector_ND`, which may lie on disk, batches of rows are read."""
    rng = np.random.default_rng(params.seed)
    codeword_LKD = np.empty((0, size, vector_ND.shape[1]))
    with progress_bar("residual k-means by level", params.levels) as bar:
        for _ in range(params.levels):
            codeword_KD = _level(vector_ND, codeword_LKD, size, params, rng)
            codeword_LKD = np.concatenate([codeword_LKD, codeword_KD[None]])
            bar.advance()
    return ResidualKMeans(codeword_LKD, "minibatch")


def load(arrays: dict[str, Float64s]) -> ResidualKMeans:
    """Rebuild it from its arrays."""
    return ResidualKMeans(arrays["codeword"], "minibatch")


def _level(
    vector_ND: Float64s,
    above_LKD: Float64s,
    size: int,
    params: SidParams,
    rng: np.random.Generator,
) -> Float64s:
    """Start at k-means of one batch, then move codewords to the mean of all they ever served."""
    batch = min(max(params.batch_size, _A_CODEWORD * size), len(vector_ND))
    codeword_KD = kmeans(_left(vector_ND, above_LKD, batch, rng), size, params.iterations, rng)
    total_K = np.zeros(size)
    for _ in range(params.iterations if batch < len(vector_ND) else 0):
        residual_BD = _left(vector_ND, above_LKD, batch, rng)
        total_K = _follow(residual_BD, codeword_KD, total_K)
    return codeword_KD


def _left(
    vector_ND: Float64s, above_LKD: Float64s, batch: int, rng: np.random.Generator
) -> Float64s:
    """Return what the levels above leave of some rows [B, D]."""
    # All rows need no draw, so that what fits into one batch gets the codes of `rkmeans`.
    few = batch < len(vector_ND)
    rows = np.sort(rng.choice(len(vector_ND), batch, replace=False)) if few else slice(None)
    residual_BD = np.asarray(vector_ND[rows], dtype=np.float64)
    for codeword_KD in above_LKD:
        residual_BD = residual_BD - codeword_KD[nearest(residual_BD, codeword_KD)]
    return residual_BD


def _follow(residual_BD: Float64s, codeword_KD: Float64s, total_K: Float64s) -> Float64s:
    """Move codewords in place; one that serves nobody restarts at the worst-served item."""
    code_B: Ints = nearest(residual_BD, codeword_KD)
    gap_B = np.sum((residual_BD - codeword_KD[code_B]) ** 2, axis=1)
    count_K = np.bincount(code_B, minlength=len(codeword_KD)).astype(np.float64)
    after_K = total_K + count_K
    sum_KD = np.zeros_like(codeword_KD)
    np.add.at(sum_KD, code_B, residual_BD)
    step_KD = (sum_KD - count_K[:, None] * codeword_KD) / np.maximum(after_K, 1.0)[:, None]
    codeword_KD += step_KD
    dead_K = np.flatnonzero(after_K == 0)
    codeword_KD[dead_K] = residual_BD[np.argsort(-gap_B, kind="stable")[: len(dead_K)]]
    return after_K
