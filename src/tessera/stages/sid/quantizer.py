"""A vector becomes a short code, coarse first, and back: residual k-means and RQ-VAE.

Semantic IDs: TIGER, Rajput et al. 2023, arXiv 2305.05065.

Only training RQ-VAE needs torch (`tessera.stages.sid.rqvae`); encoding never does.

Legend: N items, D vector width, L levels, K codewords of a level, C candidates.
"""

from __future__ import annotations

import numpy as np

from tessera.contracts.arrays import Float64s
from tessera.contracts.errors import BadInput
from tessera.contracts.progress import progress_bar
from tessera.shared.codes.health import capacity
from tessera.stages.sid.codebooks import Quantizer, ResidualKMeans, RqVae
from tessera.stages.sid.kmeans import kmeans, nearest
from tessera.stages.sid.params import SidParams

_SMALL = 256
"""Items below which a codebook is tried before it is taken."""
_ENOUGH = 0.6
"""Effective number of codes by the items that a small catalogue is given: the gate asks for .5."""


def fit_quantizer(vector_ND: Float64s, params: SidParams) -> Quantizer:
    """Learn the quantizer that the params name."""
    size = codebook_size(len(vector_ND), params)
    if params.codebook_size is None and len(vector_ND) < _SMALL:
        return _telling(vector_ND, size, params)
    return _fit(vector_ND, size, params)


def _telling(vector_ND: Float64s, size: int, params: SidParams) -> Quantizer:
    """Double the codebook of a small catalogue until its codes tell the items apart.

    Few codewords suffice for few items on average, but not for these if they are much alike; a
    guardrail of the gate would hold every candidate then.
    """
    best = _fit(vector_ND, size, params)
    most = capacity(best.encode(vector_ND))
    while most < _ENOUGH and 2 * size <= len(vector_ND):
        size *= 2
        found = _fit(vector_ND, size, params)
        told = capacity(found.encode(vector_ND))
        best, most = (found, told) if told > most else (best, most)
    return best


def _fit(vector_ND: Float64s, size: int, params: SidParams) -> Quantizer:
    if params.quantizer == "rqvae":
        from tessera.stages.sid.rqvae import train_rqvae  # torch takes seconds to import

        return train_rqvae(vector_ND, size, params)
    return fit_residual_kmeans(vector_ND, size, params)


def load_quantizer(name: str, arrays: dict[str, Float64s]) -> Quantizer:
    """Rebuild a quantizer from its arrays.

    Raises
    ------
    BadInput
        If no quantizer has this name.
    """
    layers = {key: value for key, value in arrays.items() if key != "codeword"}
    if name == "rkmeans":
        return ResidualKMeans(arrays["codeword"])
    if name == "rqvae":
        return RqVae(arrays["codeword"], layers)
    raise BadInput(f"codebook of unknown quantizer {name}; raise sid.generation to learn a new one")


def codebook_size(items: int, params: SidParams) -> int:
    """Codewords of a level: as asked, else the power of two nearest to items / 16, 4 to 256."""
    wanted = params.codebook_size or 2 ** round(np.log2(min(max(items / 16, 4), 256)))
    return max(min(int(wanted), items), 1)


def fit_residual_kmeans(vector_ND: Float64s, size: int, params: SidParams) -> ResidualKMeans:
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
