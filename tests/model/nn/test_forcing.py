"""Codewords that are drawn softly teach the vectors of items, and are those that may come next."""

from __future__ import annotations

import pytest
import torch

from tessera.model.nn.forcing import soft_codeword
from tessera.model.nn.generative import Decoder, ItemSpace
from tessera.model.nn.item_trie import item_trie
from tessera.model.nn.level_nets import LevelNetSettings

WIDTH = 4
CODES_VC = torch.tensor([[0, 0], [1, 1], [1, 2], [2, 1], [2, 3]])
"""Four items, each of a code of its own."""
TRIE = item_trie(CODES_VC, torch.arange(1, 5))


@pytest.fixture
def world():
    """Codebook and vectors that learn, a head away from its start, and states."""
    torch.manual_seed(0)
    head = Decoder(LevelNetSettings(5).build(WIDTH, 2), 2)
    for weight in head.asks.parameters():
        torch.nn.init.normal_(weight)
    book = [torch.randn(4, WIDTH, requires_grad=True) for _ in range(2)]
    item_VD = torch.randn(5, WIDTH, requires_grad=True)
    return head, book, item_VD, torch.randn(4, WIDTH)


def loss(world, softness):
    head, book, item_VD, state_ND = world
    head.softness = softness
    space = ItemSpace.of(TRIE, book, item_VD)
    found = head.loss(space, state_ND, torch.arange(1, 5))
    (grad,) = torch.autograd.grad(found, item_VD, allow_unused=True)
    return found, grad


def test_what_is_lost_on_codes_teaches_items_only_if_they_choose_codewords_themselves(world):
    _, hard = loss(world, 0.0)
    assert not hard.any(), "each has a code of its own: nothing is left to tell apart"
    _, soft = loss(world, 1.0)
    assert soft[1:].abs().sum(1).min() > 0
    assert not soft[0].any(), "padding is no item"


def test_off_it_draws_nothing_and_is_what_it_was(world):
    before = torch.get_rng_state()
    first, _ = loss(world, 0.0)
    assert torch.equal(torch.get_rng_state(), before)
    head, book, item_VD, state_ND = world
    space = ItemSpace.of(TRIE, book, item_VD)
    assert torch.equal(first, -head.log_p(space, state_ND, torch.arange(1, 5)).mean())


def test_only_codewords_that_come_next_are_in_the_mixture():
    codeword_KD = torch.eye(4)
    word_NC = torch.tensor([[1, 3], [2, 2]])  # what is no child repeats the last one
    is_child_NC = torch.tensor([[True, True], [True, False]])
    z_ND = soft_codeword(
        torch.randn(2, 4), codeword_KD, word_NC, is_child_NC, torch.tensor(3.0), 1.0
    )
    assert (z_ND > 0).tolist() == [[False, True, False, True], [False, False, True, False]]
    torch.testing.assert_close(z_ND.sum(1), torch.ones(2))


def test_cold_it_draws_one_codeword_as_often_as_its_cosine_says():
    torch.manual_seed(1)
    left_ND = torch.tensor([[1.0, 0.5]]).expand(4000, 2)
    scale, word_NC = torch.tensor(2.0), torch.tensor([[0, 1]]).expand(4000, 2)
    is_child_NC = torch.ones(4000, 2, dtype=torch.bool)
    z_ND = soft_codeword(left_ND, torch.eye(2), word_NC, is_child_NC, scale, 1e-3)
    assert (z_ND.amax(1) > 0.99).float().mean() > 0.99
    chance = torch.softmax(2.0 * torch.tensor([1.0, 0.5]) / 1.25**0.5, 0)[0]
    assert z_ND[:, 0].mean().item() == pytest.approx(chance.item(), abs=0.04)
