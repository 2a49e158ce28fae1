"""Training RQ-VAE: the only place of this package that needs torch.

Encoder and decoder learn by gradient, straight through the quantizer; codewords follow the mean of
what they serve, start at k-means of the whole set and restart when dead (RQ-VAE, Zeghidour et al.
2021; moving averages, van den Oord et al. 2017, appendix A.1).  Two more losses are off: that
linked items share a first codeword, and that codes keep who is near whom (after TopoTok, arXiv
2607.18600).

Legend: N items, B batch, D vector width, Z latent width, L levels, K codewords of a level.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from tessera.model.trainer import loop
from tessera.model.trainer.checkpoint import Run
from tessera.model.trainer.seeds import seeded
from tessera.stages.sid.codebooks import RqVae
from tessera.stages.sid.kmeans import kmeans, nearest
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.partners import Partners

_SHARP = 10.0
"""Spread of the codewords by the temperature of the chances of the first codeword, and of nearness
by that of the order: a neighbour a tenth as far as usual is surely a neighbour."""


class RqVaeModel(nn.Module):
    """Encoder, residual codebooks, decoder."""

    codeword_LKZ: Tensor
    use_LK: Tensor
    total_LKZ: Tensor

    def __init__(self, width: int, size: int, params: SidParams) -> None:
        super().__init__()
        hidden, latent = params.hidden, params.latent
        self.encode = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, latent))
        self.decode = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.commitment = params.commitment
        self.register_buffer("codeword_LKZ", torch.zeros(params.levels, size, latent))
        self.register_buffer("use_LK", torch.ones(params.levels, size))
        self.register_buffer("total_LKZ", torch.zeros(params.levels, size, latent))

    def forward(self, vector_BD: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Loss, and for each level the residuals and the codes they got."""
        latent_BZ = self.encode(vector_BD)
        residual_BZ, quantized_BZ = latent_BZ, torch.zeros_like(latent_BZ)
        distance = latent_BZ.new_zeros(())
        residuals, codes = [], []
        for codeword_KZ in self.codeword_LKZ:
            code_B = torch.cdist(residual_BZ.detach(), codeword_KZ).argmin(dim=1)
            distance = distance + nn.functional.mse_loss(residual_BZ, codeword_KZ[code_B])
            residuals.append(residual_BZ.detach())
            codes.append(code_B)
            quantized_BZ = quantized_BZ + codeword_KZ[code_B]
            residual_BZ = residual_BZ - codeword_KZ[code_B]
        through_BZ = latent_BZ + (quantized_BZ - latent_BZ).detach()
        error = nn.functional.mse_loss(self.decode(through_BZ), vector_BD)
        return error + self.commitment * distance, residuals, codes

    def parted(self, one_BD: Tensor, other_BD: Tensor) -> Tensor:
        """How unlikely linked items are to get one first codeword, against chance.

        The mean of -log sum_k p_k q_k / m_k, where m is the mean of p over the batch: one codeword
        for everybody is worth no more than drawing them, so that codewords do not collapse.
        """
        if len(one_BD) == 0:
            return one_BD.new_zeros(())
        chance = [self._first(self.encode(vector_BD)) for vector_BD in (one_BD, other_BD)]
        usual_K = torch.logsumexp(torch.cat(chance), dim=0) - np.log(2 * len(one_BD))
        both_B: Tensor = torch.logsumexp(chance[0] + chance[1] - usual_K, dim=1)
        return -both_B.mean()

    def _first(self, latent_BZ: Tensor) -> Tensor:
        """Log chance [B, K] of each first codeword, the nearer the likelier."""
        codeword_KZ = self.codeword_LKZ[0].clone()  # `follow` writes into them
        gap_BK = torch.cdist(latent_BZ, codeword_KZ) ** 2
        apart = torch.cdist(codeword_KZ, codeword_KZ).square().mean().clamp(min=1e-6)
        return torch.log_softmax(-gap_BK / (apart / _SHARP), dim=1)

    def disorder(self, vector_BD: Tensor, codes: list[Tensor]) -> Tensor:
        """How far who is near whom, after each level, is from who is near whom (KL divergence).

        After TopoTok, arXiv 2607.18600, which distils such orders between groups first; here every
        level is compared with the vectors themselves, over the items of one step.
        """
        wanted_BB = _nearness(vector_BD)
        latent_BZ = self.encode(vector_BD)
        quantized_BZ, total = torch.zeros_like(latent_BZ), latent_BZ.new_zeros(())
        for codeword_KZ, code_B in zip(self.codeword_LKZ, codes, strict=True):
            quantized_BZ = quantized_BZ + codeword_KZ[code_B]
            through_BZ = latent_BZ + (quantized_BZ - latent_BZ).detach()
            found_BB = _nearness(through_BZ)
            total = total + nn.functional.kl_div(
                found_BB, wanted_BB, log_target=True, reduction="batchmean"
            )
        mean: Tensor = total / len(codes)
        return mean

    @torch.no_grad()
    def start_codewords(self, vector_ND: Tensor, params: SidParams) -> None:
        """Put the codewords of each level at k-means of the whole set."""
        rng = np.random.default_rng(params.seed)
        residual_NZ = self.encode(vector_ND).double().numpy()
        for level in range(len(self.codeword_LKZ)):
            codeword_KZ = kmeans(residual_NZ, self.codeword_LKZ.shape[1], params.iterations, rng)
            residual_NZ = residual_NZ - codeword_KZ[nearest(residual_NZ, codeword_KZ)]
            self.codeword_LKZ[level] = torch.from_numpy(codeword_KZ).float()
        step_items = min(len(vector_ND), params.batch_size)
        self.use_LK.fill_(max(step_items / self.use_LK.shape[1], params.dead_below, 1e-3))
        self.total_LKZ.copy_(self.codeword_LKZ * self.use_LK[..., None])

    @torch.no_grad()
    def follow(self, residuals: list[Tensor], codes: list[Tensor], params: SidParams) -> None:
        """Move codewords to the running mean of what they serve; restart the dead."""
        decay = params.codeword_decay
        for level, (residual_BZ, code_B) in enumerate(zip(residuals, codes, strict=True)):
            served_BK = nn.functional.one_hot(code_B, self.use_LK.shape[1]).to(residual_BZ.dtype)
            self.use_LK[level].lerp_(served_BK.sum(dim=0), 1.0 - decay)
            self.total_LKZ[level].lerp_(served_BK.T @ residual_BZ, 1.0 - decay)
            dead = torch.nonzero(self.use_LK[level] < params.dead_below).flatten()
            # With few items to a codeword even a fair share is below the threshold.
            dead = dead[served_BK.sum(dim=0)[dead] == 0]
            if len(dead):
                chosen = torch.randint(len(residual_BZ), (len(dead),))
                self.total_LKZ[level, dead] = residual_BZ[chosen]
                self.use_LK[level, dead] = 1.0
            use_K = self.use_LK[level].clamp(min=1e-6)
            self.codeword_LKZ[level] = self.total_LKZ[level] / use_K[:, None]


def train_rqvae(
    vector_ND: NDArray[np.float64], size: int, params: SidParams, linked_NN: sparse.csr_array
) -> RqVae:
    """Train on the whole set; the same seed gives the same codebook on the same machine."""
    scale = 1.0 / max(float(vector_ND.std()), 1e-12)
    data_ND = torch.from_numpy(vector_ND * scale).float()
    partners = Partners(linked_NN)

    def loss(model: RqVaeModel, rows: Tensor) -> Tensor:
        error: Tensor
        error, residuals, codes = model(data_ND[rows])
        if params.order_pull > 0:
            error = error + params.order_pull * model.disorder(data_ND[rows], codes)
        if params.graph_pull > 0 and partners:
            with_B, partner_B = partners.draw(rows)
            parted = model.parted(data_ND[rows[with_B]], data_ND[partner_B])
            error = error + params.graph_pull * parted
        model.follow(residuals, codes, params)  # at once: no gradient is the codewords'
        return error

    with seeded(params.seed, data_ND.device):
        model = RqVaeModel(data_ND.shape[1], size, params)
        model.start_codewords(data_ND, params)
        run = Run(model, torch.optim.AdamW(model.parameters(), lr=params.learning_rate))
        vectors = loop.Shuffled(len(data_ND), params.batch_size, loss)
        loop.train("RQ-VAE", run, vectors, loop.Rules(params.epochs))
    return _frozen(model, scale)


def _nearness(vector_BZ: Tensor) -> Tensor:
    """Log chance [B, B] of each other item, the nearer the likelier; itself never."""
    gap_BB = torch.cdist(vector_BZ, vector_BZ).square()
    logit_BB = -_SHARP * gap_BB / gap_BB.detach().mean().clamp(min=1e-12)
    return torch.log_softmax(logit_BB.masked_fill(torch.eye(len(gap_BB)).bool(), -1e9), dim=1)


def _frozen(model: RqVaeModel, scale: float) -> RqVae:
    layers = {"scale": np.array([scale])}
    for name, parameter in model.named_parameters():  # decode.2.weight [out, in]: 2 is the ReLU's
        layers[name.replace(".2.", ".1.")] = parameter.detach().double().numpy().T.copy()
    return RqVae(model.codeword_LKZ.double().numpy(), layers)
