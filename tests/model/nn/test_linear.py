import torch

from tessera.model.nn import linear as products
from tessera.model.nn.linear import dropout, linear, product


def test_products_equal_the_plain_ones_with_and_without_onednn(monkeypatch):
    torch.manual_seed(0)
    left, right = torch.randn(70, 50), torch.randn(50, 200)
    expected = left.double() @ right.double()
    for has in (True, False):
        monkeypatch.setattr(products, "_HAS_ONEDNN", has and products._HAS_ONEDNN)
        torch.testing.assert_close(product(left, right).double(), expected, atol=1e-5, rtol=1e-5)
        found = product(left.T.contiguous().T, right.T.contiguous().T)
        torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    assert product(left[:0], right).shape == (0, 200)


def test_linear_has_the_gradients_of_a_plain_product():
    torch.manual_seed(0)
    x, weight = torch.randn(3, 7, 5), torch.randn(5, 4)
    signal = torch.randn(3, 7, 4)
    grads = []
    for run in (linear, torch.matmul):
        leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
        run(*leaves).backward(signal)
        grads.append([leaf.grad for leaf in leaves])
    torch.testing.assert_close(grads[0], grads[1])


def test_dropout_keeps_the_mean_and_drops_the_share():
    torch.manual_seed(0)
    out = dropout(torch.ones(1000, 333), 0.2, training=True)
    assert abs((out == 0).float().mean() - 0.2) < 0.003
    assert abs(out.mean() - 1.0) < 0.003
    torch.manual_seed(0)
    assert torch.equal(out, dropout(torch.ones(1000, 333), 0.2, training=True))
    same = torch.randn(5)
    assert dropout(same, 0.2, training=False) is same
