import math

import numpy as np
import pytest
import torch

from tessera.hstu.layer import HstuLayer, RelativeBias, View, time_bucket

LENGTH, WIDTH, HEADS = 6, 8, 2


@pytest.fixture
def layer():
    torch.manual_seed(3)
    bias = RelativeBias(LENGTH, position_bias=True, time_bias=True)
    layer = HstuLayer(WIDTH, HEADS, 0.0, bias)
    for weight in layer.parameters():  # large enough that every term shows in the output
        torch.nn.init.normal_(weight, std=0.7)
    return layer.eval()


def view_of(seconds, request, length):
    order = torch.arange(length)
    steps = (order[:, None] - order[None, :])[None]
    gap = torch.tensor(request)[None, :, None] - torch.tensor(seconds)[None, None, :]
    return View(steps >= 0, steps.clamp(min=0), time_bucket(gap), torch.ones(1, length, 1))


def normed(vector):
    return (vector - vector.mean()) / np.sqrt(vector.var() + 1e-6)


def silu(value):
    return value / (1.0 + np.exp(-value))


def by_hand(layer, x, seconds, request):
    """Compute the layer one number at a time, straight from the paper's formulas."""
    weight = {name: value.detach().double().numpy() for name, value in layer.named_parameters()}
    u, v, q, k = np.split(silu(np.stack([normed(row) for row in x]) @ weight["uvqk"]), 4, axis=1)
    head = WIDTH // HEADS
    out = np.zeros_like(x)
    for i in range(len(x)):
        seen = np.zeros(WIDTH)
        for j in range(i + 1):
            gap = max(1, abs(request[i] - seconds[j]))
            bucket = min(128, math.floor(math.log(gap) / 0.301))
            rab = weight["bias.position"][i - j + LENGTH - 1] + weight["bias.time"][bucket]
            for h in range(HEADS):
                part = slice(h * head, (h + 1) * head)
                seen[part] += silu(q[i, part] @ k[j, part] + rab) / LENGTH * v[j, part]
        gated = u[i] * normed(seen)
        out[i] = x[i] + weight["out.weight"] @ gated + weight["out.bias"]
    return out


def test_layer_equals_the_formulas_computed_by_hand(layer, rng):
    x = rng.normal(size=(5, WIDTH))
    seconds, request = [0, 1, 61, 3661, 90061], [1, 61, 3661, 90061, 10_000_000]
    found = layer(torch.tensor(x[None]).float(), view_of(seconds, request, 5))
    np.testing.assert_allclose(
        found[0].detach().numpy(), by_hand(layer, x, seconds, request), atol=2e-6
    )


@pytest.mark.parametrize(
    ("gap_s", "bucket"),
    [(0, 0), (1, 0), (60, 13), (3600, 27), (86_400, 37), (-60, 13), (2**62, 128)],
)
def test_time_bucket_is_the_log_of_the_gap(gap_s, bucket):
    assert time_bucket(torch.tensor([gap_s])).item() == bucket


def test_gradient_of_the_bias_tables_equals_plain_indexing(rng):
    bias = RelativeBias(LENGTH, position_bias=True, time_bias=True)
    view = view_of([0, 5, 70], [5, 70, 4000], 3)
    signal = torch.tensor(rng.normal(size=(1, 2, 3, 3))).float()
    (bias(torch.zeros(1, 2, 3, 3), view) * signal).sum().backward()
    position = bias.position.detach().clone().requires_grad_()
    time = bias.time.detach().clone().requires_grad_()
    plain = position[view.steps_BLL + LENGTH - 1] + time[view.bucket_BLL]
    (plain[:, None] * signal).sum().backward()
    torch.testing.assert_close(bias.position.grad, position.grad)
    torch.testing.assert_close(bias.time.grad, time.grad)


def test_without_biases_time_and_distance_do_not_matter(rng):
    bare = RelativeBias(LENGTH, position_bias=False, time_bias=False)
    assert list(bare.parameters()) == []
    score = torch.tensor(rng.normal(size=(1, 1, 3, 3)))
    assert torch.equal(bare(score, view_of([0, 5, 70], [5, 70, 4000], 3)), score)
