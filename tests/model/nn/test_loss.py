import numpy as np
import pytest
import torch
from torch.nn import functional

from tessera.model.nn import loss as losses
from tessera.model.nn.loss import draw_negatives, full_softmax, sampled_softmax, shared_softmax


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_sampled_softmax_masks_the_positive_among_its_negatives(rng):
    state, item = rng.normal(size=(2, 4)), rng.normal(size=(6, 4))
    target, negative = np.array([2, 5]), np.array([[1, 2, 3], [4, 4, 1]])
    logit = unit(state) @ unit(item).T / 0.05
    expected = 0.0
    for row, kept in enumerate(([2, 1, 3], [5, 4, 4, 1])):
        expected += np.log(np.exp(logit[row, kept] - logit[row, kept[0]]).sum()) / 2
    found = sampled_softmax(
        torch.tensor(state), torch.tensor(item), torch.tensor(target), torch.tensor(negative), 0.05
    )
    np.testing.assert_allclose(found.item(), expected, rtol=1e-9)


def test_full_softmax_ranks_against_warm_items_only(rng):
    state, item = rng.normal(size=(2, 4)), rng.normal(size=(6, 4))
    warm, target = np.array([1, 2, 5]), np.array([5, 1])
    logit = unit(state) @ unit(item).T / 0.1
    expected = np.mean(
        [np.log(np.exp(logit[row, warm]).sum()) - logit[row, target[row]] for row in (0, 1)]
    )
    found = full_softmax(
        torch.tensor(state), torch.tensor(item), torch.tensor(target), torch.tensor(warm), 0.1
    )
    np.testing.assert_allclose(found.item(), expected, rtol=1e-9)


def test_negatives_are_warm_items_and_never_padding():
    torch.manual_seed(0)
    drawn = draw_negatives(torch.tensor([2, 4, 7]), 50, 20)
    assert drawn.shape == (50, 20)
    assert set(drawn.flatten().tolist()) == {2, 4, 7}


@pytest.mark.parametrize("temperature", [0.05, 0.001])
def test_full_softmax_has_the_gradients_of_plain_cross_entropy(temperature, monkeypatch):
    monkeypatch.setattr(losses, "_CELLS", 40)
    torch.manual_seed(0)
    state, item = torch.randn(9, 6, dtype=torch.float64), torch.randn(15, 6, dtype=torch.float64)
    warm, target = torch.arange(1, 14), torch.randint(1, 14, (9,))
    state[0], state[1] = -3 * item[target[0]], 2 * item[target[1]]

    def plain(state, item):
        unit = functional.normalize(item[1:14], dim=-1)
        logit = functional.normalize(state, dim=-1) @ unit.T / temperature
        return functional.cross_entropy(logit, target - 1)

    compare(plain, lambda s, i: full_softmax(s, i, target, warm, temperature), state, item)


def test_shared_softmax_equals_the_sampled_one_with_repeated_negatives():
    torch.manual_seed(0)
    state, item = torch.randn(11, 6, dtype=torch.float64), torch.randn(9, 6, dtype=torch.float64)
    target, negative = torch.randint(1, 9, (11,)), torch.randint(1, 9, (3, 5))
    spread = negative.repeat_interleave(4, 0)[:11]
    assert (spread == target[:, None]).any()
    compare(
        lambda s, i: sampled_softmax(s, i, target, spread, 0.05),
        lambda s, i: shared_softmax(s, i, target, negative, 0.05),
        state,
        item,
    )


def compare(plain, ours, *made):
    results = []
    for run in (plain, ours):
        leaves = [part.clone().requires_grad_() for part in made]
        loss = run(*leaves)
        (3.0 * loss).backward()
        results.append([loss.detach(), *(leaf.grad for leaf in leaves)])
    torch.testing.assert_close(results[1], results[0], atol=1e-9, rtol=1e-9)
