"""Residual k-means: each level clusters what the levels above left over (Jégou et al. 2010).

Legend: N items, D vector width, K codewords of a level.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from tessera.contracts.arrays import Float64s
from tessera.contracts.progress import progress_bar
from tessera.stages.sid.codebooks import ResidualKMeans
from tessera.stages.sid.kmeans import kmeans, nearest
from tessera.stages.sid.params import SidParams


def fit(
    vector_ND: Float64s,
    size: int,
    params: SidParams,
    linked_NN: sparse.csr_array,  # noqa: ARG001
) -> ResidualKMeans:
    """Cluster the whole set, then what is left, level by level."""
    rng = np.random.default_rng(params.seed)
    residual_ND = vector_ND.astype(np.float64)
    codewords = []
    with progress_bar("residual k-means by level", params.levels) as bar:
        for _ in range(params.levels):
            codeword_KD = kmeans(residual_ND, size, params.iterations, rng)
            residual_ND = residual_ND - codeword_KD[nearest(residual_ND, codeword_KD)]
            codewords.append(codeword_KD)
            bar.advance()
    return ResidualKMeans(np.stack(codewords))


def load(arrays: dict[str, Float64s]) -> ResidualKMeans:
    """Rebuild it from its arrays."""
    return ResidualKMeans(arrays["codeword"])
