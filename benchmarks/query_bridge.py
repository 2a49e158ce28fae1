"""Queries and items through one quantizer, so that what is asked says which items belong together.

DSIRM (arXiv 2606.04374): InfoNCE draws a query and an item clicked under it together, and items
clicked under one query; the first level of a code is the item's category; a decoder tells the codes
that a query leads to, and how deep one of them agrees with an item's is a feature of the pair.
Here, as DRQ does, an autoencoder without a quantizer learns first and is frozen, then its latent
vectors are clustered, and the decoder is a softmax; the paper learns quantizer and contrast
together, and decodes by a language model.

Legend: Q queries, N items, P pairs, B batch, D width, Z latent width, L levels, C items of a query,
W codes of a query.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from tessera.contracts.arrays import Float64s, Ints
from tessera.model.trainer import loop
from tessera.model.trainer.checkpoint import Run
from tessera.model.trainer.seeds import seeded
from tessera.stages.sid.drq import LatentModel, info_nce
from tessera.stages.sid.kmeans import kmeans, nearest
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.partners import Partners
from tessera.stages.sid.text import unit

LEVELS = 3
DEEP = np.array([0.0, 0.25, 0.5, 1.0])
"""What a pair is worth by how many levels agree, as in the paper."""
WIDE = 5
"""Codes of a query."""
_SHARP = 5.0
"""Length of a latent vector for the decoder, whose weights need not be large then; ours."""


@dataclass(frozen=True, slots=True)
class Bridge:
    """The frozen encoder, for queries and items alike."""

    model: LatentModel
    scale: float

    def latent(self, vector_XD: Float64s) -> Float64s:
        """Latent vectors [X, Z] of length 1."""
        with torch.inference_mode():
            mean_XZ = self.model.encode(torch.from_numpy(vector_XD * self.scale).float())
            return unit(mean_XZ.chunk(2, dim=1)[0].double().numpy())


def train_bridge(
    query_QD: Float64s, item_ND: Float64s, led_NQ: sparse.csr_array, params: SidParams
) -> Bridge:
    """Learn from pairs of a query and an item clicked under it.

    Parameters
    ----------
    query_QD, item_ND : array
        Vectors of texts in one space.
    led_NQ : csr_array
        1 where a query led to a click on the item.
    params : SidParams
        Shape and training of the latent, as of DRQ; `contrast` 0 leaves queries and items apart.
    """
    scale = 1.0 / max(float(item_ND.std()), 1e-12)
    asked_QD, found_ND = (torch.from_numpy(one * scale).float() for one in (query_QD, item_ND))
    item_P, query_P = (torch.from_numpy(one.astype(np.int64)) for one in led_NQ.nonzero())
    together_NN = (led_NQ @ led_NQ.T).tocsr()
    together_NN.setdiag(0.0)
    partners = Partners(sparse.csr_array(together_NN))

    def rebuilt(model: LatentModel, vector_BD: Tensor) -> tuple[Tensor, Tensor]:
        mean_BZ, log_BZ, again_BD = model(vector_BD)
        divergence = 0.5 * (mean_BZ**2 + log_BZ.exp() - 1.0 - log_BZ).sum(dim=1).mean()
        error = nn.functional.mse_loss(again_BD, vector_BD) + params.spread * divergence
        return mean_BZ, error

    def loss(model: LatentModel, rows: Tensor) -> Tensor:
        asked_BZ, error = rebuilt(model, asked_QD[query_P[rows]])
        found_BZ, more = rebuilt(model, found_ND[item_P[rows]])
        near = info_nce(asked_BZ, found_BZ, params.contrast_temperature)
        with_B, partner_B = partners.draw(item_P[rows])
        if len(with_B) > 1:
            other_BZ = model.encode(found_ND[partner_B]).chunk(2, dim=1)[0]
            near = near + info_nce(found_BZ[with_B], other_BZ, params.contrast_temperature)
        return error + more + params.contrast * near

    with seeded(params.seed, asked_QD.device):
        model = LatentModel(item_ND.shape[1], params)
        run = Run(model, torch.optim.AdamW(model.parameters(), lr=params.learning_rate))
        pairs = loop.Shuffled(len(item_P), params.batch_size, loss)
        loop.train("DSIRM", run, pairs, loop.Rules(params.epochs))
    return Bridge(model, scale)


def coded(latent_NZ: Float64s, first_N: Ints | None, size: int, seed: int) -> Ints:
    """Cluster level by level to codes [N, L]; the first may be given, such as by category."""
    rng = np.random.default_rng(seed)
    decoded_NZ = np.zeros_like(latent_NZ)
    codes: list[Ints] = []
    while len(codes) < LEVELS:
        left_NZ = latent_NZ - decoded_NZ
        if first_N is not None and not codes:
            code_N = first_N
            word_KZ = np.stack([left_NZ[code_N == k].mean(axis=0) for k in range(code_N.max() + 1)])
        else:
            word_KZ = kmeans(left_NZ, size, 50, rng)
            code_N = nearest(left_NZ, word_KZ)
        decoded_NZ = decoded_NZ + word_KZ[code_N]
        codes.append(code_N)
    return np.stack(codes, axis=1)


def codes_of_queries(latent_QZ: Float64s, code_NL: Ints, led_NQ: sparse.csr_array) -> Ints:
    """Return the `WIDE` likeliest codes [Q, W, L] of what is clicked under each query, best first.

    A softmax over the codes that items have learns from the same clicks.  It weighs all of them,
    which is what a beam as wide would find.
    """
    code_KL, of_N = np.unique(code_NL, axis=0, return_inverse=True)
    item_P, query_P = led_NQ.nonzero()
    sharp_QZ = latent_QZ * _SHARP
    decoder = LogisticRegression(max_iter=200).fit(sharp_QZ[query_P], of_N.ravel()[item_P])
    best_QW = np.argsort(-decoder.decision_function(sharp_QZ), axis=1, kind="stable")[:, :WIDE]
    return np.asarray(code_KL[decoder.classes_[best_QW]], dtype=np.int64)


def agreement(code_QWL: Ints, code_QCL: Ints) -> Float64s:
    """Worth [Q, C] of the deepest level to which an item agrees with any code of the query.

    >>> query = np.array([[[1, 2, 3], [4, 5, 6]]])
    >>> agreement(query, np.array([[[1, 2, 9], [4, 5, 6], [7, 2, 3]]]))
    array([[0.5, 1. , 0. ]])
    """
    same_QCWL = code_QCL[:, :, None] == code_QWL[:, None]
    depth_QC = np.cumprod(same_QCWL, axis=3).sum(axis=3).max(axis=2)
    return np.asarray(DEEP[depth_QC], dtype=np.float64)
