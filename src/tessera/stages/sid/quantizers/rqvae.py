"""RQ-VAE: residual codes of a learnt latent vector (Zeghidour et al. 2021).

Training needs torch, which takes seconds to import (`tessera.stages.sid.rqvae`); encoding never.

Legend: N items, D vector width, K codewords of a level.
"""

from __future__ import annotations

from scipy import sparse

from tessera.contracts.arrays import Float64s
from tessera.stages.sid.codebooks import RqVae
from tessera.stages.sid.params import SidParams


def fit(vector_ND: Float64s, size: int, params: SidParams, linked_NN: sparse.csr_array) -> RqVae:
    """Train encoder, decoder and codewords."""
    from tessera.stages.sid.rqvae import train_rqvae

    return train_rqvae(vector_ND, size, params, linked_NN)


def load(arrays: dict[str, Float64s]) -> RqVae:
    """Rebuild it from its arrays."""
    layers = {name: array for name, array in arrays.items() if name != "codeword"}
    return RqVae(arrays["codeword"], layers)
