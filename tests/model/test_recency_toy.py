"""Two planted decays, of an hour and of sixty, are found, and only in real time.

Each history ends with an event that says which decay holds.  The next item is drawn from a softmax
of the items' shares of the history under that decay, so that one scale, or positions instead of
times, cannot tell it.  Where all gaps are alike, positions are times in another unit and lose
nothing.

Shapes: N histories, L events, I items.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tessera.model.nn.recency import Recency, log_spaced
from tessera.model.nn.tiles import View

DECAYS_H, STARTS_H = (1.0, 60.0), (4.0, 15.0)
"""Scales begin far from what was planted, and must part."""
HOUR_S = 3600
ITEMS, EVENTS, WIDTH, SHARPNESS = 8, 48, 16, 12.0
HISTORIES, EPOCHS, BATCH, RATE = 1200, 12, 100, 0.02


@dataclass
class Toy:
    item_NL: torch.Tensor
    second_NL: torch.Tensor
    next_N: torch.Tensor
    unit_s: float = float(HOUR_S)

    def by_position(self):
        place_NL = torch.arange(EVENTS).expand_as(self.second_NL)
        return replace(self, second_NL=place_NL, unit_s=1.0)


def bursts(rng, size):
    """Return gaps of minutes with pauses of most of a day between, in hours."""
    return rng.exponential(np.where(rng.random(size) < 0.8, 0.3, 20.0))


def draw(seed, gaps_h):
    rng = np.random.default_rng(seed)
    size = (HISTORIES, EVENTS)
    second_NL = np.round(np.cumsum(gaps_h(rng, size), axis=1) * HOUR_S).astype(np.int64)
    item_NL = rng.integers(0, ITEMS, size)
    which_N = rng.integers(0, 2, HISTORIES)
    item_NL[:, -1] = ITEMS + which_N
    past_NL = (second_NL[:, -1:] - second_NL) / HOUR_S
    weight_NL = np.exp(-past_NL / np.array(DECAYS_H)[which_N, None])
    weight_NL /= weight_NL.sum(axis=1, keepdims=True)
    share_NI = np.stack([(weight_NL * (item_NL == i)).sum(1) for i in range(ITEMS)], axis=1)
    next_N = (SHARPNESS * share_NI + rng.gumbel(size=share_NI.shape)).argmax(axis=1)
    return Toy(*(torch.from_numpy(part) for part in (item_NL, second_NL, next_N)))


class Model(nn.Module):
    """Embeddings, the operator, and a product with every item."""

    def __init__(self, scales, unit_s):
        super().__init__()
        self.event = nn.Embedding(ITEMS + 2, WIDTH)
        starts = log_spaced(*(start * unit_s for start in STARTS_H), scales)
        self.recency = Recency(WIDTH, starts, 0.0)
        self.out = nn.Linear(WIDTH, ITEMS)

    def forward(self, item_NL, second_NL):
        place_NL = torch.arange(EVENTS).expand_as(item_NL)
        view = View(place_NL, second_NL, second_NL, torch.ones(*item_NL.shape, 1))
        return self.out(self.recency(self.event(item_NL), view)[:, -1])


def learn(toy, test, scales=3):
    """Return the mean negative log-likelihood on `test`, and the scales learnt, in hours."""
    torch.manual_seed(0)
    model = Model(scales, toy.unit_s)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, EPOCHS * HISTORIES // BATCH)
    for _ in range(EPOCHS):
        for rows_N in torch.randperm(HISTORIES).split(BATCH):
            logit_NI = model(toy.item_NL[rows_N], toy.second_NL[rows_N])
            optimizer.zero_grad()
            functional.cross_entropy(logit_NI, toy.next_N[rows_N]).backward()
            optimizer.step()
            pace.step()
    with torch.no_grad():
        loss = functional.cross_entropy(model(test.item_NL, test.second_NL), test.next_N)
        return loss.item(), sorted((model.recency.scale_s() / toy.unit_s).tolist())


def test_three_scales_of_real_time_beat_one_and_positions_and_find_what_was_planted():
    toy, test = draw(0, bursts), draw(1, bursts)
    loss, scales_h = learn(toy, test)
    assert loss <= learn(toy, test, scales=1)[0] - 0.1
    assert loss <= learn(toy.by_position(), test.by_position())[0] - 0.1
    for found, planted in zip((scales_h[0], scales_h[-1]), DECAYS_H, strict=True):
        assert planted / 2 <= found <= planted * 2


def test_where_all_gaps_are_alike_the_unit_of_time_does_not_matter():
    """Positions are such times in another unit; a constant of seconds would tell them apart."""
    toy, test = (draw(seed, lambda rng, size: np.ones(size)) for seed in (0, 1))
    loss, _ = learn(toy, test)
    assert learn(toy.by_position(), test.by_position())[0] == pytest.approx(loss, abs=0.005)
