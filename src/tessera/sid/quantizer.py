"""A vector becomes a short code, coarse first, and back: residual k-means and RQ-VAE.

Only training RQ-VAE needs torch (`tessera.sid.rqvae`); encoding never does.

Legend: N items, D vector width, L levels, K codewords of a level, C candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tessera.codes.health import capacity
from tessera.contracts.errors import BadInput
from tessera.contracts.progress import progress_bar
from tessera.sid.params import SidParams

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SMALL = 256
"""Items below which a codebook is tried before it is taken."""
_ENOUGH = 0.6
"""Effective number of codes by the items that a small catalogue is given: the gate asks for .5."""


class Quantizer(Protocol):
    """Something learnt that encodes vectors; every implementation inherits the law suite."""

    @property
    def name(self) -> str:
        """Name in params.yaml."""

    @property
    def codeword_LKD(self) -> Floats:
        """Codewords of every level."""

    def encode(self, vector_ND: Floats) -> Ints:
        """Code [N, L] of each vector."""

    def decode(self, code_NL: Ints) -> Floats:
        """Vector [N, D] that a code stands for."""

    def arrays(self) -> dict[str, Floats]:
        """Everything learnt, by name."""


@dataclass(frozen=True, slots=True)
class ResidualKMeans:
    """Each level clusters what the levels above left over (Jégou et al. 2010)."""

    codeword_LKD: Floats
    name: str = "rkmeans"

    def encode(self, vector_ND: Floats) -> Ints:
        """Nearest codeword, level by level."""
        return residual_codes(vector_ND, self.codeword_LKD)

    def decode(self, code_NL: Ints) -> Floats:
        """Sum of the codewords."""
        return sum_codewords(code_NL, self.codeword_LKD)

    def arrays(self) -> dict[str, Floats]:
        """Codewords."""
        return {"codeword": self.codeword_LKD}


@dataclass(frozen=True, slots=True)
class RqVae:
    """Residual codes of a learnt latent vector; two dense layers each way."""

    codeword_LKD: Floats
    layers: dict[str, Floats]
    """Weight [in, out] and bias of `encode.0`, `encode.1`, `decode.0`, `decode.1`; `scale`."""
    name: str = "rqvae"

    def encode(self, vector_ND: Floats) -> Ints:
        """Nearest codeword of the latent vector, level by level."""
        latent = self._forward(vector_ND * self.layers["scale"], "encode")
        return residual_codes(latent, self.codeword_LKD)

    def decode(self, code_NL: Ints) -> Floats:
        """Vector that the decoder makes of the sum of the codewords."""
        latent = sum_codewords(code_NL, self.codeword_LKD)
        return self._forward(latent, "decode") / self.layers["scale"]

    def arrays(self) -> dict[str, Floats]:
        """Codewords and layers."""
        return {"codeword": self.codeword_LKD} | self.layers

    def _forward(self, x: Floats, way: str) -> Floats:
        hidden = x @ self.layers[f"{way}.0.weight"] + self.layers[f"{way}.0.bias"]
        out = np.maximum(hidden, 0.0) @ self.layers[f"{way}.1.weight"]
        return np.asarray(out + self.layers[f"{way}.1.bias"], dtype=np.float64)


def fit_quantizer(vector_ND: Floats, params: SidParams) -> Quantizer:
    """Learn the quantizer that the params name."""
    size = codebook_size(len(vector_ND), params)
    if params.codebook_size is None and len(vector_ND) < _SMALL:
        return _telling(vector_ND, size, params)
    return _fit(vector_ND, size, params)


def _telling(vector_ND: Floats, size: int, params: SidParams) -> Quantizer:
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


def _fit(vector_ND: Floats, size: int, params: SidParams) -> Quantizer:
    if params.quantizer == "rqvae":
        from tessera.sid.rqvae import train_rqvae  # torch takes seconds to import

        return train_rqvae(vector_ND, size, params)
    return fit_residual_kmeans(vector_ND, size, params)


def load_quantizer(name: str, arrays: dict[str, Floats]) -> Quantizer:
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


def fit_residual_kmeans(vector_ND: Floats, size: int, params: SidParams) -> ResidualKMeans:
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


def kmeans(vector_ND: Floats, size: int, iterations: int, rng: np.random.Generator) -> Floats:
    """Lloyd's algorithm from k-means++; a cluster that empties restarts at the worst-served item.

    Written here because a threaded library adds in another order each run, and codes must not.
    """
    centre_KD = _plus_plus(vector_ND, size, rng)
    before_N = np.full(len(vector_ND), -1)
    for _ in range(iterations):
        cluster_N = nearest(vector_ND, centre_KD)
        if np.array_equal(cluster_N, before_N):
            break
        before_N = cluster_N
        centre_KD = _means(vector_ND, cluster_N, centre_KD)
    return centre_KD


def nearest(vector_ND: Floats, codeword_KD: Floats) -> Ints:
    """Index of the nearest codeword, the lowest on ties."""
    distance_NK = np.sum(codeword_KD**2, axis=1) - 2.0 * vector_ND @ codeword_KD.T
    return np.asarray(np.argmin(distance_NK, axis=1), dtype=np.int64)


def residual_codes(vector_ND: Floats, codeword_LKD: Floats) -> Ints:
    """Nearest codeword of what is left, level by level."""
    residual_ND = vector_ND.astype(np.float64)
    codes = []
    for codeword_KD in codeword_LKD:
        code_N = nearest(residual_ND, codeword_KD)
        residual_ND = residual_ND - codeword_KD[code_N]
        codes.append(code_N)
    return np.stack(codes, axis=1).astype(np.int64)


def sum_codewords(code_NL: Ints, codeword_LKD: Floats) -> Floats:
    """Sum of the codewords of each code."""
    levels = range(len(codeword_LKD))
    return np.asarray(sum(codeword_LKD[level][code_NL[:, level]] for level in levels))


def _plus_plus(vector_ND: Floats, size: int, rng: np.random.Generator) -> Floats:
    """Spread-out first centres: the best of a few draws each (Arthur & Vassilvitskii 2007)."""
    draws = 2 + int(np.log(size))
    square_N = np.sum(vector_ND**2, axis=1)
    chosen = [int(rng.integers(len(vector_ND)))]
    gap_N = _gaps(vector_ND, square_N, np.array(chosen))[:, 0]
    while len(chosen) < size:
        mass_N = np.cumsum(gap_N)  # all 0 if there are fewer distinct vectors than centres
        pick = np.searchsorted(mass_N, rng.random(draws) * mass_N[-1], side="right")
        pick = np.minimum(pick, len(vector_ND) - 1)
        after_NC = np.minimum(gap_N[:, None], _gaps(vector_ND, square_N, pick))
        best = int(np.argmin(after_NC.sum(axis=0)))
        gap_N = after_NC[:, best]
        chosen.append(int(pick[best]))
    return vector_ND[chosen].copy()


def _gaps(vector_ND: Floats, square_N: Floats, chosen_C: Ints) -> Floats:
    """Squared distances [N, C] to some of the vectors."""
    gap_NC = square_N[:, None] + square_N[chosen_C] - 2.0 * vector_ND @ vector_ND[chosen_C].T
    return np.maximum(gap_NC, 0.0)


def _means(vector_ND: Floats, cluster_N: Ints, centre_KD: Floats) -> Floats:
    size = len(centre_KD)
    count_K = np.bincount(cluster_N, minlength=size)
    order_N = np.argsort(cluster_N, kind="stable")
    start_K = np.cumsum(count_K) - count_K
    full_K = np.flatnonzero(count_K > 0)
    new_KD = centre_KD.copy()
    sums = np.add.reduceat(vector_ND[order_N], start_K[full_K], axis=0)
    new_KD[full_K] = sums / count_K[full_K, None]
    empty_K = np.flatnonzero(count_K == 0)
    if len(empty_K):
        gap_N = np.sum((vector_ND - new_KD[cluster_N]) ** 2, axis=1)
        new_KD[empty_K] = vector_ND[np.argsort(-gap_N, kind="stable")[: len(empty_K)]]
    return new_KD
