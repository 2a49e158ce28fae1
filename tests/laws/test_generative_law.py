"""What a generative head must do: whole probabilities, no invented item, nothing missed by a beam.

Legend: N items of the trie, B requests, V items with padding first, D width, K list length.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tessera.model.nn.batch import PADDING
from tessera.model.nn.generative import Decoder, ItemSpace
from tessera.model.nn.item_trie import item_trie
from tessera.model.nn.plugs import GENERATIVE_HEADS

HEADS = {"level_nets": {"hidden": 7}}
heads = pytest.mark.parametrize("name", HEADS)

WIDTH, SIZE = 6, 5


def decoder(name, levels=2, seed=0):
    """Return a head away from where it starts, where much is zero."""
    torch.manual_seed(seed)
    made = GENERATIVE_HEADS[name](**HEADS[name]).build(WIDTH, levels)
    head = Decoder(made, levels)
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.7)
    torch.nn.init.normal_(head.log_scale_L, mean=1.0, std=0.5)
    return head.double().eval()


def world(codes, requests=3, seed=0, items=None):
    """Return the space of some items and states; all items by default, the first is row 1."""
    rng = torch.Generator().manual_seed(seed)
    codes_VC = torch.tensor([[0] * len(codes[0]), *codes])

    def drawn(*shape):
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    trie = item_trie(codes_VC, torch.arange(len(codes_VC)) if items is None else items)
    book = [drawn(SIZE + 1, WIDTH) for _ in codes[0]]
    return ItemSpace.of(trie, book, drawn(len(codes_VC), WIDTH)), drawn(requests, WIDTH)


codes_of_items = st.integers(1, 3).flatmap(
    lambda levels: st.lists(st.tuples(*[st.integers(1, SIZE)] * levels), min_size=1, max_size=30)
)
"""Any number of levels; several items may share a code."""


def every_log_p(head, space, state_BD, temperature=1.0):
    """Score all items of the trie for each request, one by one."""
    item_N = space.trie.item_N
    return torch.stack([
        head.log_p(space, state_D.expand(len(item_N), -1), item_N, temperature)
        for state_D in state_BD
    ])  # fmt: skip


def by_hand(head, codes, space, state_D, item, temperature):
    """Follow one item down a dictionary of prefixes, and multiply."""
    state_D, code = functional.normalize(state_D, dim=0), codes[item - 1]
    prefix_D, total = torch.zeros_like(state_D), 0.0
    items = list(range(1, len(codes) + 1))
    for level, own in enumerate(code):
        asking_D = head.asks(state_D[None], prefix_D[None], level)[0]
        book_KD, scale = space.codewords[level], head.log_scale_L[level].exp() / temperature
        weight = {
            k: math.exp(scale * functional.cosine_similarity(asking_D, book_KD[k], 0))
            for k in {codes[row - 1][level] for row in items}
        }
        total += math.log(weight[own] / sum(weight.values()))
        items = [row for row in items if codes[row - 1][level] == own]
        prefix_D = prefix_D + book_KD[own]
    scale = head.log_scale_L[-1].exp() / temperature
    weight = {row: math.exp(scale * (state_D @ space.item_VD[row])) for row in items}
    return total + math.log(weight[item] / sum(weight.values()))


temperatures = st.sampled_from([0.3, 1.0, 4.0])
seeds = st.integers(0, 99)


@heads
@given(codes=codes_of_items, seed=seeds, temperature=temperatures)
@settings(max_examples=40, deadline=None)
def test_probabilities_of_all_items_add_up_to_one(name, codes, seed, temperature):
    space, state_BD = world(codes, seed=seed)
    head = decoder(name, len(codes[0]), seed)
    with torch.no_grad():
        log_p_BN = every_log_p(head, space, state_BD, temperature)
    assert sorted(space.trie.item_N.tolist()) == list(range(1, len(codes) + 1))
    torch.testing.assert_close(log_p_BN.exp().sum(1), torch.ones(3).double(), atol=1e-6, rtol=0)


@heads
@given(codes=codes_of_items, seed=seeds, temperature=temperatures)
@settings(max_examples=25, deadline=None)
def test_the_chance_of_an_item_is_the_product_of_the_choices_on_its_path(
    name, codes, seed, temperature
):
    space, state_BD = world(codes, requests=1, seed=seed)
    head = decoder(name, len(codes[0]), seed)
    with torch.no_grad():
        found_N = every_log_p(head, space, state_BD, temperature)[0].tolist()
        for log_p, item in zip(found_N, space.trie.item_N.tolist(), strict=True):
            expected = by_hand(head, codes, space, state_BD[0], item, temperature)
            assert log_p == pytest.approx(expected, abs=1e-6)


def searched(head, space, state_BD, open_BV, *asked):
    """Find the likeliest of the items that are open: so many, with beams, at a temperature."""
    return head.beam_search(space, state_BD, space.trie.open_before(open_BV), *asked)


def open_rows(data, requests, items):
    """Draw which items are open to each request; padding never is."""
    count = requests * (items + 1)
    drawn = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    open_BV = torch.tensor(drawn).view(requests, items + 1)
    open_BV[:, PADDING] = False
    return open_BV


def real(item_K):
    return [item for item in item_K.tolist() if item != PADDING]


@heads
@given(codes=codes_of_items, seed=seeds, temperature=temperatures, data=st.data())
@settings(max_examples=60, deadline=None)
def test_as_many_beams_as_items_are_exhaustive(name, codes, seed, temperature, data):
    space, state_BD = world(codes, seed=seed)
    head, top = decoder(name, len(codes[0]), seed), data.draw(st.integers(1, 40))
    open_BV = open_rows(data, 3, len(codes))
    found = searched(head, space, state_BD, open_BV, top, len(codes), temperature)
    with torch.no_grad():
        log_p_BN = every_log_p(head, space, state_BD, temperature)
    for row in range(3):
        item_N, is_open_N = space.trie.item_N, open_BV[row, space.trie.item_N]
        open_N, log_p_N = item_N[is_open_N].tolist(), log_p_BN[row, is_open_N].tolist()
        log_p_of, item_K = dict(zip(open_N, log_p_N, strict=True)), real(found.item_BK[row])
        best = pytest.approx(sorted(log_p_of.values(), reverse=True)[:top], abs=1e-6)
        assert len(item_K) == len(set(item_K)) == min(top, len(log_p_of))
        assert found.log_p_BK[row, : len(item_K)].tolist() == best
        assert [log_p_of[item] for item in item_K] == best
        assert found.log_p_BK[row, len(item_K) :].isneginf().all()


@heads
@given(codes=codes_of_items, seed=seeds, top=st.integers(1, 4), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_narrow_beam_finds_open_items_alone_and_as_many_as_are_asked_for(
    name, codes, seed, top, data
):
    space, state_BD = world(codes, seed=seed)
    head = decoder(name, len(codes[0]), seed)
    open_BV = open_rows(data, 3, len(codes))
    found = searched(head, space, state_BD, open_BV, top, 1)
    with torch.no_grad():
        log_p_BN = every_log_p(head, space, state_BD)
    for row in range(3):
        item_K = real(found.item_BK[row])
        assert all(open_BV[row, item] for item in item_K)
        assert len(item_K) == len(set(item_K)) == min(top, int(open_BV[row].sum()))
        exact = log_p_BN[row, space.trie.leaf_V[item_K]].tolist()
        assert found.log_p_BK[row, : len(item_K)].tolist() == pytest.approx(exact, abs=1e-6)


FIVE = [(1, 1), (1, 2), (2, 1), (2, 1), (3, 5)]


@heads
def test_one_row_of_open_items_serves_all_requests(name):
    space, state_BD = world(FIVE, requests=4)
    head, open_1V = decoder(name), torch.tensor([[False, True, False, True, True, True]])
    one = searched(head, space, state_BD, open_1V, 5, 5)
    each = searched(head, space, state_BD, open_1V.expand(4, -1), 5, 5)
    assert torch.equal(one.item_BK, each.item_BK)
    assert (one.item_BK != PADDING).sum(1).tolist() == [4] * 4


@heads
def test_a_batch_says_of_a_request_what_it_says_alone(name):
    space, state_BD = world(FIVE, requests=4)
    head = decoder(name)
    open_BV = torch.rand(4, 6, generator=torch.Generator().manual_seed(1)) > 0.3
    open_BV[:, PADDING] = False
    together = searched(head, space, state_BD, open_BV, 2, 2)
    for row in range(4):
        own = slice(row, row + 1)
        alone = searched(head, space, state_BD[own], open_BV[own], 2, 2)
        assert torch.equal(alone.item_BK[0], together.item_BK[row])
        torch.testing.assert_close(alone.log_p_BK[0], together.log_p_BK[row])


@heads
def test_it_learns_which_item_comes_next(name):
    """States stand for items; half of the items share their code with another."""
    codes_VC = torch.tensor([[0, 0]] + [(1 + item % 4, 1 + item // 8) for item in range(16)])
    head = Decoder(GENERATIVE_HEADS[name](**HEADS[name]).build(16, 2), 2)
    rng = torch.Generator().manual_seed(3)
    book = [torch.randn(SIZE + 1, 16, generator=rng).requires_grad_() for _ in range(2)]
    item_VD = torch.randn(17, 16, generator=rng).requires_grad_()
    state_ND, target_N = torch.randn(16, 16, generator=rng), torch.arange(1, 17)
    trie, losses = item_trie(codes_VC, torch.arange(17)), []
    optimizer = torch.optim.Adam([*head.parameters(), *book, item_VD], lr=0.03)
    for _ in range(150):
        loss = head.loss(ItemSpace.of(trie, book, item_VD), state_ND, target_N)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.5 * math.log(16)
    assert losses[-1] < 0.1
    for weight, value in [*head.named_parameters(), *enumerate(book), ("items", item_VD)]:
        assert value.grad.isfinite().all(), weight
        assert value.grad.any(), weight
    space, open_1V = ItemSpace.of(trie, book, item_VD), torch.ones(1, 17).bool()
    assert torch.equal(searched(head, space, state_ND, open_1V, 1, 4).item_BK[:, 0], target_N)


@heads
def test_a_target_without_a_code_teaches_nothing(name):
    space, state_BD = world([(1, 1), (1, 2), (0, 0)], requests=2)
    head = decoder(name)
    alone = head.loss(space, state_BD[:1], torch.tensor([1]))
    assert space.trie.item_N.tolist() == [1, 2]
    torch.testing.assert_close(2 * head.loss(space, state_BD, torch.tensor([1, 3])), alone)
    assert head.loss(space, state_BD[:1], torch.tensor([3])).item() == 0


@heads
@pytest.mark.parametrize("items", [[], [2]])
def test_no_item_and_a_single_one_are_answered(name, items):
    space, state_BD = world([(1, 1), (1, 2)], items=torch.tensor(items, dtype=torch.long))
    found = searched(decoder(name), space, state_BD, torch.ones(1, 3).bool(), 5, 5)
    assert [real(item_K) for item_K in found.item_BK] == [items] * 3
    assert found.log_p_BK[:, : len(items)].eq(0).all()


@heads
def test_all_closed_is_an_empty_list(name):
    space, state_BD = world([(1, 1), (1, 2)])
    found = searched(decoder(name), space, state_BD, torch.zeros(1, 3).bool(), 5, 5)
    assert not found.item_BK.any()
    assert found.log_p_BK.isneginf().all()


@heads
def test_items_alike_in_everything_share_the_chance_and_stand_in_their_order(name):
    space, state_BD = world([(2, 1)] * 4)
    space.item_VD[:] = space.item_VD[1].clone()
    found = searched(decoder(name), space, state_BD, torch.ones(1, 5).bool(), 4, 4)
    assert found.item_BK.tolist() == [[1, 2, 3, 4]] * 3
    np.testing.assert_allclose(found.log_p_BK.exp(), 0.25, atol=1e-9)


def test_every_head_has_its_laws():
    assert set(HEADS) == set(GENERATIVE_HEADS)


@pytest.mark.parametrize(
    ("codes", "widths", "words"),
    [
        ((1, 1), (6, 5), "codebook of level 1 is 5 wide and items are 6"),
        ((1, 9), (6, 6), "code 9 of level 1 is not among the 2 codewords"),
        ((1, 1), (6,), "codes have 2 levels and the codebook has 1"),
    ],
)
def test_a_codebook_that_is_not_that_of_the_codes_is_refused(codes, widths, words):
    trie = item_trie(torch.tensor([(0, 0), codes]), torch.arange(2))
    with pytest.raises(ValueError, match=words):
        ItemSpace.of(trie, [torch.ones(3, width) for width in widths], torch.ones(2, 6))


def test_an_item_outside_the_trie_is_refused():
    space, state_BD = world([(1, 1), (1, 2)], requests=1, items=torch.tensor([1]))
    with pytest.raises(ValueError, match="item row 2 is not in the trie"):
        decoder("level_nets").log_p(space, state_BD, torch.tensor([2]))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_that_is_none_is_refused(temperature):
    space, state_BD = world([(1, 1), (1, 2)])
    with pytest.raises(ValueError, match="temperature"):
        decoder("level_nets").log_p(space, state_BD, torch.tensor([1, 2, 1]), temperature)
    with pytest.raises(ValueError, match="temperature"):
        searched(decoder("level_nets"), space, state_BD, torch.ones(1, 3).bool(), 1, 1, temperature)


@pytest.mark.parametrize("temperature", [1e-300, 1e-40, 1e-6, 1e9, 1e300])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_probabilities_are_whole_however_cold_or_hot(temperature, kind):
    codes = [(1, 1), (1, 2), (2, 1), (2, 1)]
    space, state_BD = world(codes)
    space = ItemSpace(space.trie, tuple(one.to(kind) for one in space.codewords),
                      space.item_VD.to(kind))  # fmt: skip
    head, state_BD = decoder("level_nets").to(kind), state_BD.to(kind)
    with torch.no_grad():
        total_B = every_log_p(head, space, state_BD, temperature).exp().sum(1)
    torch.testing.assert_close(total_B, torch.ones_like(total_B), atol=1e-5, rtol=0)
    found = searched(head, space, state_BD, torch.ones(1, 5).bool(), 4, 4, temperature)
    assert found.log_p_BK[:, 0].isfinite().all()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_state_that_is_not_finite_is_refused(value):
    space, state_BD = world([(1, 1), (1, 2)])
    state_BD[1, 3] = value
    with pytest.raises(ValueError, match="state is not finite"):
        decoder("level_nets").log_p(space, state_BD, torch.tensor([1, 2, 1]))
    with pytest.raises(ValueError, match="state is not finite"):
        searched(decoder("level_nets"), space, state_BD, torch.ones(1, 3).bool(), 1, 1)
    loss = decoder("level_nets").loss(space, state_BD, torch.tensor([1, 2, 1]))
    assert not loss.isfinite(), "training ends by itself"


@pytest.mark.parametrize("row", [-1, 3, PADDING])
def test_a_row_that_is_no_item_is_refused(row):
    space, state_BD = world([(1, 1), (1, 2)], requests=1)
    with pytest.raises(ValueError, match=f"item row {row} is not in the trie"):
        decoder("level_nets").log_p(space, state_BD, torch.tensor([row]))


def test_where_no_target_has_a_code_the_loss_is_zero_and_can_be_followed_back():
    for codes, items in (([(0, 0)], [0, 1]), ([(1, 1), (0, 0)], [0, 1, 2])):
        space, state_BD = world(codes, items=torch.tensor(items))
        state_BD.requires_grad_()
        loss = decoder("level_nets").loss(space, state_BD, torch.tensor([items[-1]] * 3))
        loss.backward()
        assert loss.item() == 0.0
        assert not state_BD.grad.any()
