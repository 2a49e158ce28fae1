import numpy as np
import torch

from tessera.hstu.loss import draw_negatives, full_softmax, sampled_softmax


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
