"""Training the latent of DRQ: reconstruction, a normal prior, and linked items close together.

A variational autoencoder without a quantizer, and InfoNCE between items that the same investors
hold, as the edges of the graph tell (arXiv 2606.01844).

Legend: N items, B batch, D vector width, Z latent width.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from tessera.contracts.arrays import Float64s
from tessera.model.trainer import loop
from tessera.model.trainer.checkpoint import Run
from tessera.model.trainer.seeds import seeded
from tessera.stages.sid.codebooks import RqVae
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.partners import Partners


class LatentModel(nn.Module):
    """Encoder to mean and log variance, decoder."""

    def __init__(self, width: int, params: SidParams) -> None:
        super().__init__()
        hidden, latent = params.hidden, params.latent
        self.encode = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent)
        )
        self.decode = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def forward(self, vector_BD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log variance of the latent, and what is rebuilt of a draw from it."""
        mean_BZ, log_BZ = self.encode(vector_BD).chunk(2, dim=1)
        drawn_BZ = mean_BZ + torch.exp(0.5 * log_BZ) * torch.randn_like(mean_BZ)
        return mean_BZ, log_BZ, self.decode(drawn_BZ)


def train_latent(vector_ND: Float64s, params: SidParams, linked_NN: sparse.csr_array) -> RqVae:
    """Train on the whole set; what comes back has no codewords yet."""
    scale = 1.0 / max(float(vector_ND.std()), 1e-12)
    data_ND = torch.from_numpy(vector_ND * scale).float()
    partners = Partners(linked_NN)

    def loss(model: LatentModel, rows: Tensor) -> Tensor:
        total: Tensor
        vector_BD = data_ND[rows]
        mean_BZ, log_BZ, again_BD = model(vector_BD)
        error = nn.functional.mse_loss(again_BD, vector_BD)
        divergence = 0.5 * (mean_BZ**2 + log_BZ.exp() - 1.0 - log_BZ).sum(dim=1).mean()
        total = error + params.spread * divergence
        if params.contrast > 0 and partners:
            with_B, partner_B = partners.draw(rows)
            if len(with_B) > 1:
                other_BZ = model.encode(data_ND[partner_B]).chunk(2, dim=1)[0]
                near = info_nce(mean_BZ[with_B], other_BZ, params.contrast_temperature)
                total = total + params.contrast * near
        return total

    with seeded(params.seed, data_ND.device):
        model = LatentModel(data_ND.shape[1], params)
        run = Run(model, torch.optim.AdamW(model.parameters(), lr=params.learning_rate))
        vectors = loop.Shuffled(len(data_ND), params.batch_size, loss)
        loop.train("DRQ", run, vectors, loop.Rules(params.epochs))
    return _frozen(model, scale, params.latent)


def info_nce(one_BZ: Tensor, other_BZ: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of finding the partner of each among all of the batch, both ways."""
    unit = nn.functional.normalize
    logit_BB = unit(one_BZ, dim=1) @ unit(other_BZ, dim=1).T / temperature
    own_B = torch.arange(len(logit_BB))
    there = nn.functional.cross_entropy(logit_BB, own_B)
    return 0.5 * (there + nn.functional.cross_entropy(logit_BB.T, own_B))


def _frozen(model: LatentModel, scale: float, latent: int) -> RqVae:
    layers = {"scale": np.array([scale])}
    for name, parameter in model.named_parameters():  # encode.2.weight [out, in]: 2 is the ReLU's
        array = parameter.detach().double().numpy()
        kept = array[:latent] if name.startswith("encode.2.") else array  # the mean alone
        layers[name.replace(".2.", ".1.")] = kept.T.copy()
    return RqVae(np.zeros((0, 1, latent)), layers, "drq")
