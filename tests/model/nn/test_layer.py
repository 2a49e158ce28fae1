import math

import numpy as np
import pytest
import torch

from tessera.model.nn import attention, tiles
from tessera.model.nn.attention import Bias, attend
from tessera.model.nn.layer import HstuLayer, RelativeBias
from tessera.model.nn.tiles import View, time_bucket

LENGTH, WIDTH, HEADS = 6, 8, 2


@pytest.fixture
def layer():
    torch.manual_seed(3)
    bias = RelativeBias(LENGTH, position_bias=True, time_bias=True)
    layer = HstuLayer(WIDTH, HEADS, 0.0, bias)
    for weight in layer.parameters():  # large enough that every term shows in the output
        torch.nn.init.normal_(weight, std=0.7)
    return layer.eval()


def view_of(seconds, request, groups=None, **more):
    seconds, request = torch.tensor(seconds)[None], torch.tensor(request)[None]
    groups = torch.arange(seconds.shape[1]) if groups is None else torch.tensor(groups)
    return View(groups[None], seconds, request, torch.ones(*seconds.shape, 1), **more)


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
    found = layer.double()(torch.tensor(x[None]), view_of(seconds, request))
    np.testing.assert_allclose(
        found[0].detach().numpy(), by_hand(layer, x, seconds, request), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize(
    ("gap_s", "bucket"),
    [(0, 0), (1, 0), (60, 13), (3600, 27), (86_400, 37), (-60, 13), (2**62, 128)],
)
def test_time_bucket_is_the_log_of_the_gap(gap_s, bucket):
    assert time_bucket(torch.tensor([gap_s])).item() == bucket


def test_three_tokens_without_bias_give_the_numbers_worked_out_on_paper():
    """Width 2, q = k = v = u = SiLU(normed x): normed (1, -1) or (-1, 1), so SiLU is a or -b."""
    layer = HstuLayer(2, 1, 0.0, RelativeBias(3, position_bias=False, time_bias=False)).double()
    layer.uvqk.data = torch.eye(2, dtype=torch.double).repeat(1, 4)
    layer.out.weight.data, layer.out.bias.data = torch.eye(2).double(), torch.zeros(2).double()
    # So large that eps does not show in the norm of the input: it is 1 and -1.
    x = torch.tensor([[[2e3, 0.0], [0.0, 2e3], [2e3, 0.0]]], dtype=torch.double)
    found = layer.eval()(x, view_of([0, 1, 2], [1, 2, 3]))
    # a = SiLU(1) and -b = SiLU(-1); scores are a^2 + b^2 with one's like and -2ab with the other.
    # Row 1 sees itself, row 2 the other and itself, row 3 its like, the other and itself; all keep
    # the sign of the own side, so that the norm of what they see is (1, -1) or (-1, 1) up to eps.
    a, b = 0.7310585786300049, 0.2689414213699951
    like, other = 0.6067761335170363, -0.3932238664829637
    alike, unlike = 0.39270857435855755, -0.15844619964363565
    assert (a * a + b * b, -2 * a * b) == pytest.approx((like, other), abs=1e-15)
    one, two = np.array([a, -b]), np.array([-b, a])
    expected = [
        one * normed(alike * one / 3) + [2e3, 0.0],
        two * normed((unlike * one + alike * two) / 3) + [0.0, 2e3],
        one * normed((2 * alike * one + unlike * two) / 3) + [2e3, 0.0],
    ]
    np.testing.assert_allclose(found[0].detach().numpy(), expected, rtol=0, atol=1e-9)
    rounded = [[2000.7310, 0.2689], [0.2689, 2000.7310], [2000.7310, 0.2689]]
    np.testing.assert_allclose(expected, rounded, rtol=0, atol=2e-4)


TIED = [0, 1, 1, 2, 2, 2, 3, 4, 5]
AT = [0, 3, 3, 70, 70, 70, 5000, 90_000, 900_000]
ASKED = [3, 70, 70, 5000, 5000, 5000, 90_000, 900_000, 900_060]
cases = pytest.mark.parametrize(
    ("groups", "window"), [(None, None), (TIED, None), (None, 3), (TIED, 3)]
)


def plain(part, bias, view, heads):
    """All pairs at once, with nothing but textbook operations."""
    q, k, v = part
    length = q.shape[2]
    steps = view.group_BL[:, :, None] - view.group_BL[:, None, :]
    bucket = time_bucket(view.request_BL[:, :, None] - view.second_BL[:, None, :])
    rab = bias.position[steps.clamp(0) + len(bias.position) // 2] + bias.time[bucket]
    rab = rab + bias.extra * view.extra_BLL
    seen = (steps >= 0) & (steps < (view.window or length))
    weight = torch.nn.functional.silu(q @ k.transpose(-1, -2) + rab[:, None])
    assert heads == q.shape[1]
    return (weight * seen[:, None]) @ v


@cases
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("kept", [0, 8_000_000])
def test_tiles_equal_the_plain_attention_and_all_its_gradients(
    groups, window, heads, kept, monkeypatch
):
    monkeypatch.setattr(tiles, "_TILE_ROWS", 4)
    monkeypatch.setattr(tiles, "_TILE_CELLS", 40)
    monkeypatch.setattr(attention, "_KEPT_CELLS", kept)
    torch.manual_seed(0)
    one = view_of(AT, ASKED, groups)
    view = View(
        *(part.repeat(3, *[1] * (part.dim() - 1)) for part in
          (one.group_BL, one.second_BL, one.request_BL, one.real_BL1)),
        window=window, extra_BLL=torch.randn(3, 9, 9, dtype=torch.float64),
    )  # fmt: skip
    made = [torch.randn(3, heads, 9, 4, dtype=torch.float64) for _ in range(3)]
    made += [torch.randn(23, dtype=torch.float64), torch.randn(129, dtype=torch.float64)]
    made += [torch.randn((), dtype=torch.float64)]
    signal = torch.randn(3, heads, 9, 4, dtype=torch.float64)
    results = []
    for run in (lambda t, b: plain(t, b, view, heads), lambda t, b: attend(*t, b, view)):
        leaves = [part.clone().requires_grad_() for part in made]
        out = run(leaves[:3], Bias(*leaves[3:]))
        out.backward(signal)
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
    assert len(view.tiles) == 9
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


@cases
def test_gradients_equal_finite_differences(groups, window):
    torch.manual_seed(0)
    view = view_of(AT, ASKED, groups, window=window)
    shapes = [(1, 2, 9, 3)] * 3 + [(19,), (129,)]
    leaves = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]

    def run(q, k, v, position, time):
        return attend(q, k, v, Bias(position, time, None), view)

    assert torch.autograd.gradcheck(run, leaves)


def test_a_later_event_leaves_earlier_outputs_bit_identical(layer, rng):
    x = torch.tensor(rng.normal(size=(1, 5, WIDTH))).float()
    view = view_of([0, 1, 61, 3661, 90061], [1, 61, 3661, 90061, 90100])
    before = layer(x, view)
    x[0, 3:] = torch.tensor(rng.normal(size=(2, WIDTH)))
    after = layer(x, view)
    assert torch.equal(after[:, :3], before[:, :3])
    assert not torch.allclose(after[:, 3:], before[:, 3:])


def test_a_window_hides_what_is_older_and_saves_its_work(layer, rng):
    x = torch.tensor(rng.normal(size=(1, 6, WIDTH))).float()
    times = [0, 1, 61, 3661, 90061, 90062], [1, 61, 3661, 90061, 90062, 90063]
    near, far = layer(x, view_of(*times, window=2)), layer(x, view_of(*times))
    assert torch.equal(near[:, :2], far[:, :2])
    assert not torch.allclose(near[:, 2:], far[:, 2:])
    x[0, 2] += 1.0
    moved = layer(x, view_of(*times, window=2))
    assert torch.equal(moved[:, [0, 1, 4, 5]], near[:, [0, 1, 4, 5]])


def test_a_window_computes_fewer_scores():
    seconds = list(range(200))
    cells = {
        window: sum(
            tile.bucket_SRC.numel() for tile in view_of(seconds, seconds, window=window).tiles
        )
        for window in (None, 50)
    }
    assert cells[50] < 0.7 * cells[None] < 0.5 * 200 * 200


def test_a_number_for_each_pair_is_added_when_the_layer_has_a_scalar_for_it(rng):
    bias = RelativeBias(LENGTH, position_bias=True, time_bias=True, extra_bias=True)
    layer = HstuLayer(WIDTH, HEADS, 0.0, bias).eval()
    x = torch.tensor(rng.normal(size=(1, 4, WIDTH))).float()
    times = [0, 1, 61, 3661], [1, 61, 3661, 3662]
    pairs = torch.tensor(rng.normal(size=(1, 4, 4))).float()
    with_pairs = view_of(*times, extra_BLL=pairs)
    assert torch.equal(layer(x, with_pairs), layer(x, view_of(*times)))
    bias.extra.data.fill_(30.0)
    assert not torch.allclose(layer(x, with_pairs), layer(x, view_of(*times)))


def test_keys_and_values_are_those_of_the_layer(layer, rng):
    x = torch.tensor(rng.normal(size=(2, 5, WIDTH))).float()
    k, v = layer.keys_values(x)
    normal = torch.nn.functional.layer_norm(x, (WIDTH,), eps=1e-6)
    mixed = torch.nn.functional.silu(normal @ layer.uvqk)
    assert k.shape == v.shape == (2, HEADS, 5, WIDTH // HEADS)
    torch.testing.assert_close(v.transpose(1, 2).flatten(2), mixed.chunk(4, dim=-1)[1])
    torch.testing.assert_close(k.transpose(1, 2).flatten(2), mixed.chunk(4, dim=-1)[3])


def test_without_biases_time_and_distance_do_not_matter(rng):
    bare = RelativeBias(LENGTH, position_bias=False, time_bias=False)
    assert list(bare.parameters()) == []
    layer = HstuLayer(WIDTH, HEADS, 0.0, bare).eval()
    x = torch.tensor(rng.normal(size=(1, 3, WIDTH))).float()
    assert torch.equal(
        layer(x, view_of([0, 5, 70], [5, 70, 4000])), layer(x, view_of([0, 1, 2], [1, 2, 3]))
    )
