"""What was learnt: codewords that encode a vector coarse first, and decode it again.

Legend: N items, D vector width, L levels, K codewords of a level.
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
        latent = self._forward(vector_ND * self.layers["scale"], "encode")
        return residual_codes(latent, self.codeword_LKD)

    def decode(self, code_NL: Ints) -> Float64s:
        """Vector that the decoder makes of the sum of the codewords."""
        latent = sum_codewords(code_NL, self.codeword_LKD)
        return self._forward(latent, "decode") / self.layers["scale"]

    def arrays(self) -> dict[str, Float64s]:
        """Codewords and layers."""
        return {"codeword": self.codeword_LKD} | self.layers

    def _forward(self, x: Float64s, way: str) -> Float64s:
        hidden = x @ self.layers[f"{way}.0.weight"] + self.layers[f"{way}.0.bias"]
        out = np.maximum(hidden, 0.0) @ self.layers[f"{way}.1.weight"]
        return np.asarray(out + self.layers[f"{way}.1.bias"], dtype=np.float64)
