"""A window hides what is too many distinct times ago, in every layer and from candidates."""

import json
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tessera.model.nn.batch import Batch
from tessera.model.nn.ranking import RankingBatch
from tessera.model.trunk.flops import history_flops
from tessera.model.trunk.model import SequenceModel, Shape, _view
from tessera.model.trunk.saved import load_model, save_model

LENGTH = 12
BASE = Shape(
    kind="hstu", width=8, blocks=2, heads=2, length=LENGTH, dropout=0.0, id_dropout=0.0,
    time_bias=True, position_bias=True, tied_sets=True, items=20, code_sizes=(),
    rank_blocks=1, rank_hidden=6, score="rank",
)  # fmt: skip
kinds = pytest.mark.parametrize("kind", ["hstu", "sasrec"])
TIED = (0, 1, 1, 2, 3, 4, 5, 5, 5, 6)
groupings = pytest.mark.parametrize("groups", [tuple(range(10)), TIED], ids=["apart", "tied"])


def build(**changes):
    torch.manual_seed(1)
    shape = replace(BASE, **changes)
    if shape.kind == "sasrec":
        shape = replace(shape, rank_blocks=0, rank_hidden=0, score="recall")
    codes = torch.zeros(shape.items, 0, dtype=torch.long)
    model = SequenceModel(shape, codes, torch.ones(shape.items, dtype=torch.bool))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return model.eval()


def history(groups, first=1, pad=2):
    length = len(groups)
    second = [100 * group for group in groups]
    return Batch(
        torch.tensor([[first, *range(2, length + 1), *[0] * pad]]),
        torch.zeros(1, length + pad, dtype=torch.long),
        torch.tensor([[*second, *[0] * pad]]),
        torch.tensor([[*(100 * group + 100 for group in groups), *[0] * pad]]),
        torch.tensor([[*groups, *[length + pad] * pad]]),
    )


def states(model, batch):
    with torch.no_grad():
        return model(batch, model.items())[0]


def logits(model, batch, state):
    zero = torch.tensor([0])
    item_NM = torch.tensor([[15, 16]])
    second_N, state_N = torch.tensor([100 * state + 50]), torch.tensor([state])
    asked = RankingBatch(zero, zero, second_N, state_N, item_NM, torch.ones_like(item_NM),
                         torch.zeros(1, 2, 0))  # fmt: skip
    with torch.no_grad():
        item_VD = model.items()
        return model.logits(batch, asked, model.encode(batch, item_VD), item_VD)


@kinds
@groupings
def test_a_window_as_long_as_the_history_is_no_window(kind, groups):
    plain, wide = build(kind=kind), build(kind=kind, window=LENGTH)
    batch = history(groups)
    assert torch.equal(states(plain, batch), states(wide, batch))
    if kind == "hstu":
        last = groups[-1]
        assert torch.equal(logits(plain, batch, last), logits(wide, batch, last))


@kinds
@groupings
@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_each_layer_looks_back_one_window_and_no_further(kind, groups, blocks):
    model, plain = build(kind=kind, window=2, blocks=blocks), build(kind=kind, blocks=blocks)
    reach = blocks * (2 - 1)
    one, other = (states(model, history(groups, first)) for first in (1, 14))
    assert all(not torch.allclose(one[g], other[g]) for g in range(reach + 1))
    assert torch.equal(one[reach + 1 :], other[reach + 1 :])
    one, other = (states(plain, history(groups, first)) for first in (1, 14))
    assert not torch.allclose(one[groups[-1]], other[groups[-1]])


def test_a_candidate_looks_back_one_window_of_its_own():
    model, batch = build(blocks=1, window=3), history(tuple(range(10)))
    with torch.no_grad():  # the cosine with the state looks back by itself
        model.rank.net.hidden.weight[:, 2 * 8] = 0.0
    near, far = (logits(model, batch, state) for state in (1, 2))
    near_other, far_other = (
        logits(model, history(tuple(range(10)), 14), state) for state in (1, 2)
    )
    assert not torch.allclose(near, near_other)
    assert torch.equal(far, far_other)


def test_the_counted_operations_shrink_with_the_window():
    model = build(length=200, heads=1, window=20, items=300)
    batch = history(tuple(range(200)), pad=0)
    products = {
        torch.ops.mkldnn._linear_pointwise: lambda x, w, *_, **__: 2 * x.numel() * w[0],
        torch.ops.aten.baddbmm_: lambda _, a, b, **__: 2 * a[0] * a[1] * a[2] * b[-1],
    }
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=products) as counter:
        for layer in model.layers:
            layer(torch.randn(1, 200, 8), _view(batch, batch.item_BL > 0, 20))
    assert counter.get_total_flops() == history_flops(model.shape, 200)
    assert history_flops(model.shape, 200) < history_flops(replace(model.shape, window=None), 200)


def test_a_model_saved_before_windows_has_none(tmp_path):
    save_model(build(window=5), ["x"] * 19, tmp_path)
    assert load_model(tmp_path)[0].shape.window == 5
    config = json.loads((tmp_path / "config.json").read_text())
    del config["window"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_model(tmp_path)[0].shape.window is None
