"""Whether two planted decays, of an hour and of sixty, are found, and only in real time.

Usage: python -m benchmarks.recency [--seeds 0 1 2]   about a minute a seed on one thread

Each history ends with an event that says which decay holds.  The next item is drawn from a softmax
of the items' shares of the history under that decay, so that one scale, or positions instead of
times, cannot tell it.  Where all gaps are alike, positions are times in another unit and lose
nothing.  MARS, arXiv 2606.03718.

Shapes: N histories, L events, I items, D width, K scales.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.common import write_result
from tessera.hstu.recency import Recency, log_spaced
from tessera.hstu.tiles import View

HOUR_S = 3600
DECAYS_H = (1.0, 60.0)
_ITEMS, _EVENTS, _WIDTH = 8, 48, 16
_SHARPNESS = 12.0
_BATCH = 100
_RATE = 0.02
_STARTS = (4.0, 15.0)
"""Scales begin between these, far from what was planted, in hours or, for positions, in steps."""


@dataclass(frozen=True, slots=True)
class Toy:
    """Histories with the item that came next; the last event is the one that says the decay."""

    item_NL: Tensor
    second_NL: Tensor
    next_N: Tensor
    share_NI: Tensor
    """What decides it: each item's share of the history under the decay that holds."""
    unit_s: float = float(HOUR_S)
    """What scales are told in."""

    def by_position(self) -> Toy:
        """Return the same histories with places instead of times."""
        place_NL = torch.arange(_EVENTS).expand_as(self.second_NL)
        return replace(self, second_NL=place_NL, unit_s=1.0)

    def floor(self) -> float:
        """Return the loss of who knows the decays."""
        return functional.cross_entropy(_SHARPNESS * self.share_NI, self.next_N).item()


def draw(count: int, seed: int, *, constant_gaps: bool = False) -> Toy:
    """Draw bursts and pauses, or one event an hour, and what comes next."""
    rng = np.random.default_rng(seed)
    size = (count, _EVENTS)
    pauses_NL = rng.exponential(np.where(rng.random(size) < 0.8, 0.3, 20.0))
    gap_NL = np.ones(size) if constant_gaps else pauses_NL
    second_NL = np.round(np.cumsum(gap_NL, axis=1) * HOUR_S).astype(np.int64)
    item_NL = rng.integers(0, _ITEMS, size)
    which_N = rng.integers(0, len(DECAYS_H), count)
    item_NL[:, -1] = _ITEMS + which_N
    past_NL = (second_NL[:, -1:] - second_NL) / HOUR_S
    weight_NL = np.exp(-past_NL / np.asarray(DECAYS_H)[which_N, None])
    weight_NL /= weight_NL.sum(axis=1, keepdims=True)
    share_NI = np.stack([(weight_NL * (item_NL == i)).sum(1) for i in range(_ITEMS)], axis=1)
    noise_NI = rng.gumbel(size=share_NI.shape)
    next_N = (_SHARPNESS * share_NI + noise_NI).argmax(axis=1)
    return Toy(*(torch.from_numpy(part) for part in (item_NL, second_NL, next_N, share_NI)))


class _Model(nn.Module):
    """Embeddings, the operator, and a product with every item."""

    def __init__(self, scales: int, unit_s: float) -> None:
        super().__init__()
        self.event = nn.Embedding(_ITEMS + len(DECAYS_H), _WIDTH)
        shortest, longest = (start * unit_s for start in _STARTS)
        self.recency = Recency(_WIDTH, log_spaced(shortest, longest, scales), 0.0)
        self.out = nn.Linear(_WIDTH, _ITEMS)

    def forward(self, item_NL: Tensor, second_NL: Tensor) -> Tensor:
        """Return logit_NI of what comes next."""
        place_NL = torch.arange(_EVENTS).expand_as(item_NL)
        real_NL1 = torch.ones(*item_NL.shape, 1)
        view = View(place_NL, second_NL, second_NL, real_NL1)
        logit_NI: Tensor = self.out(self.recency(self.event(item_NL), view)[:, -1])
        return logit_NI


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a model made of a toy."""

    loss: float
    """Mean negative log-likelihood on histories that it never saw, in nats."""
    scales: list[float]
    """In the unit of the toy, shortest first."""


def learn(toy: Toy, test: Toy, scales: int, *, epochs: int, seed: int) -> Learnt:
    """Train with so many scales on one toy, and measure on another."""
    torch.manual_seed(seed)
    model = _Model(scales, toy.unit_s)
    optimizer = torch.optim.Adam(model.parameters(), lr=_RATE)
    steps = epochs * -(-len(toy.next_N) // _BATCH)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, steps)
    for _ in range(epochs):
        for rows_N in torch.randperm(len(toy.next_N)).split(_BATCH):
            logit_NI = model(toy.item_NL[rows_N], toy.second_NL[rows_N])
            optimizer.zero_grad()
            functional.cross_entropy(logit_NI, toy.next_N[rows_N]).backward()
            optimizer.step()
            pace.step()
    with torch.no_grad():
        loss = functional.cross_entropy(model(test.item_NL, test.second_NL), test.next_N)
        found_K = model.recency.scale_s().sort().values / toy.unit_s
    return Learnt(loss.item(), found_K.tolist())


def measure(seed: int, *, histories: int = 4000, epochs: int = 15) -> dict[str, Any]:
    """Return the losses of one scale and three, with times and positions, and three's scales."""
    told: dict[str, Any] = {}
    for name, constant in (("bursts", False), ("constant", True)):
        toy, test = (draw(histories, 2 * seed + k, constant_gaps=constant) for k in (0, 1))
        places = toy.by_position(), test.by_position()
        times = learn(toy, test, 3, epochs=epochs, seed=seed)
        told[f"{name}_times"] = times.loss
        told[f"{name}_positions"] = learn(*places, 3, epochs=epochs, seed=seed).loss
        told[f"{name}_floor"] = test.floor()
        if not constant:
            told["one_scale"] = learn(toy, test, 1, epochs=epochs, seed=seed).loss
            told["scales_h"] = times.scales
    return told


def main() -> None:
    """Measure each seed and write results/recency.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    torch.set_num_threads(1)
    seeds = {str(seed): measure(seed) for seed in parser.parse_args().seeds}
    write_result("recency", {"planted_h": list(DECAYS_H), "seeds": seeds})


if __name__ == "__main__":
    main()
