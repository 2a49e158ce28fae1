"""DRQ: a continuous latent is learnt without any quantizer, frozen, and clustered (2606.01844).

The paper is arXiv 2606.01844.  Training needs torch, which takes seconds to import
(`tessera.stages.sid.drq`); encoding never.

Legend: N items, D vector width, K codewords of a level.
"""

from __future__ import annotations

from dataclasses import replace

from scipy import sparse

from tessera.contracts.arrays import Float64s
from tessera.stages.sid.codebooks import RqVae
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.quantizers import rkmeans, rqvae


def fit(vector_ND: Float64s, size: int, params: SidParams, linked_NN: sparse.csr_array) -> RqVae:
    """Train encoder and decoder, then cluster the latent vectors level by level."""
    from tessera.stages.sid.drq import train_latent

    frozen = train_latent(vector_ND, params, linked_NN)
    found = rkmeans.fit(frozen.latent(vector_ND), size, params, linked_NN)
    return replace(frozen, codeword_LKD=found.codeword_LKD)


def load(arrays: dict[str, Float64s]) -> RqVae:
    """Rebuild it from its arrays."""
    return replace(rqvae.load(arrays), name="drq")
