"""What was learnt: codewords that encode a vector coarse first, and decode it again.

Legend: N items, D vector width, Z latent width, L levels, K codewords of a level, Q rounded
directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tessera.contracts.arrays import Float64s, Ints
from tessera.stages.sid.kmeans import residual_codes, sum_codewords


class Quantizer(Protocol):
    """Something learnt that encodes vectors; every implementation inherits the law suite."""

    @property
    def name(self) -> str:
        """Name in params.yaml."""

    @property
    def codeword_LKD(self) -> Float64s:
        """Codewords of every level."""

    def encode(self, vector_ND: Float64s) -> Ints:
        """Code [N, L] of each vector."""

    def decode(self, code_NL: Ints) -> Float64s:
        """Vector [N, D] that a code stands for."""

    def arrays(self) -> dict[str, Float64s]:
        """Everything learnt, by name."""


@dataclass(frozen=True, slots=True)
class ResidualKMeans:
    """Each level clusters what the levels above left over (Jégou et al. 2010)."""

    codeword_LKD: Float64s
    name: str = "rkmeans"

    def encode(self, vector_ND: Float64s) -> Ints:
        """Nearest codeword, level by level."""
        return residual_codes(vector_ND, self.codeword_LKD)

    def decode(self, code_NL: Ints) -> Float64s:
        """Sum of the codewords."""
        return sum_codewords(code_NL, self.codeword_LKD)

    def arrays(self) -> dict[str, Float64s]:
        """Codewords."""
        return {"codeword": self.codeword_LKD}


@dataclass(frozen=True, slots=True)
class RqVae:
    """Residual codes of a learnt latent vector; two dense layers each way."""

    codeword_LKD: Float64s
    layers: dict[str, Float64s]
    """Weight [in, out] and bias of `encode.0`, `encode.1`, `decode.0`, `decode.1`; `scale`."""
    name: str = "rqvae"

    def encode(self, vector_ND: Float64s) -> Ints:
        """Nearest codeword of the latent vector, level by level."""
        return residual_codes(self.latent(vector_ND), self.codeword_LKD)

    def decode(self, code_NL: Ints) -> Float64s:
        """Vector that the decoder makes of the sum of the codewords."""
        latent = sum_codewords(code_NL, self.codeword_LKD)
        return self._forward(latent, "decode") / self.layers["scale"]

    def arrays(self) -> dict[str, Float64s]:
        """Codewords and layers."""
        return {"codeword": self.codeword_LKD} | self.layers

    def latent(self, vector_ND: Float64s) -> Float64s:
        """Latent vector [N, Z] that the codes are of."""
        return self._forward(vector_ND * self.layers["scale"], "encode")

    def _forward(self, x: Float64s, way: str) -> Float64s:
        hidden = x @ self.layers[f"{way}.0.weight"] + self.layers[f"{way}.0.bias"]
        out = np.maximum(hidden, 0.0) @ self.layers[f"{way}.1.weight"]
        return np.asarray(out + self.layers[f"{way}.1.bias"], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class RqFsq:
    """Coarse levels of codewords; what they leave is rounded to a grid along some directions."""

    codeword_LKD: Float64s
    """Of the rounded levels too: every combination of steps is a codeword."""
    direction_QD: Float64s
    grid_Q3: Float64s
    """Level, bits and scale of each direction."""
    name: str = "rq_fsq"

    def encode(self, vector_ND: Float64s) -> Ints:
        """Nearest codeword on coarse levels, then steps along the directions of each level."""
        level_Q, bits_Q = self.grid_Q3[:, :2].astype(np.int64).T
        coarse = int(level_Q.min(initial=len(self.codeword_LKD)))
        code_NL = np.zeros((len(vector_ND), len(self.codeword_LKD)), dtype=np.int64)
        code_NL[:, :coarse] = residual_codes(vector_ND, self.codeword_LKD[:coarse])
        left_ND = vector_ND - sum_codewords(code_NL[:, :coarse], self.codeword_LKD[:coarse])
        digit_NQ = rounded(left_ND @ self.direction_QD.T * self.grid_Q3[:, 2], bits_Q)
        for level in range(coarse, len(self.codeword_LKD)):
            for q in np.flatnonzero(level_Q == level):
                code_NL[:, level] = (code_NL[:, level] << bits_Q[q]) + digit_NQ[:, q]
        return code_NL

    def decode(self, code_NL: Ints) -> Float64s:
        """Sum of the codewords."""
        return sum_codewords(code_NL, self.codeword_LKD)

    def arrays(self) -> dict[str, Float64s]:
        """Codewords, directions and grid."""
        return {
            "codeword": self.codeword_LKD, "direction": self.direction_QD, "grid": self.grid_Q3
        }  # fmt: skip


def rounded(value_NQ: Float64s, bits_Q: Ints) -> Ints:
    """Step of each value on a grid of 2^bits steps, equally wide after tanh.

    >>> rounded(np.array([[-9.0], [-0.1], [0.1], [9.0]]), np.array([2]))[:, 0]
    array([0, 1, 2, 3])
    """
    steps_Q = 2.0**bits_Q
    place_NQ = np.floor((np.tanh(value_NQ) + 1.0) / 2.0 * steps_Q)
    return np.clip(place_NQ, 0, steps_Q - 1).astype(np.int64)


def steps_of(code_K: Ints, bits_Q: Ints) -> Ints:
    """Return the steps [K, Q] that a codeword is made of; the last direction has the lowest bits.

    >>> steps_of(np.array([0, 5, 7]), np.array([2, 1]))
    array([[0, 0],
           [2, 1],
           [3, 1]])
    """
    below_Q = np.cumsum(bits_Q[::-1])[::-1] - bits_Q
    return np.asarray((code_K[:, None] >> below_Q) & (2**bits_Q - 1), dtype=np.int64)
