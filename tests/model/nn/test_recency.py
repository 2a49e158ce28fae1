"""Means of the trunk's outputs that decay with real time: by hand, and beside the trunk."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tessera.contracts.errors import BadParams
from tessera.model.nn.recency import Recency, log_spaced
from tessera.model.nn.tiles import View
from tessera.model.params import HstuParams
from tessera.model.training.fit import fit
from tessera.model.trunk.model import SequenceModel, Shape
from tessera.model.trunk.saved import load_model, save_model

WIDTH, STARTS = 4, (20.0, 600.0)
SECONDS, REQUEST = [0, 5, 5, 60, 900], [5, 60, 60, 900, 4000]
TIED = [0, 1, 1, 2, 3]
cases = pytest.mark.parametrize(
    ("groups", "window"), [(range(5), None), (TIED, None), (range(5), 2), (TIED, 2)]
)


def view_of(seconds=SECONDS, request=REQUEST, groups=TIED, window=None):
    row = [torch.tensor([list(part)]) for part in (groups, seconds, request)]
    return View(*row, torch.ones(1, len(seconds), 1), window)


@pytest.fixture
def recency():
    torch.manual_seed(2)
    found = Recency(WIDTH, STARTS, 0.0).double()
    for weight in found.parameters():  # large enough that every term shows in the output
        torch.nn.init.normal_(weight, std=0.5)
    return found.eval()


@pytest.fixture
def x():
    return torch.randn(1, 5, WIDTH, generator=torch.Generator().manual_seed(3)).double()


def softmax(values):
    return np.exp(values) / np.exp(values).sum()


def by_hand(recency, x, groups, window):
    """Compute it one number at a time."""
    weight = {name: value.detach().numpy() for name, value in recency.named_parameters()}
    start, out = recency.start_K.numpy(), np.zeros_like(x)
    for n in range(len(x)):
        seen = [t for t in range(len(x)) if 0 <= groups[n] - groups[t] < (window or 99)]
        before = [SECONDS[n] - SECONDS[t] for t in seen if SECONDS[t] < SECONDS[n]]
        gaps = [REQUEST[n] - SECONDS[n], min(before, default=0)]
        gaps = np.log1p(gaps) / math.log1p(STARTS[-1])
        normed = (x[n] - x[n].mean()) / np.sqrt(x[n].var() + 1e-6)
        logits = weight["gate.weight"] @ np.concatenate([normed, gaps]) + weight["gate.bias"]
        lately = np.zeros(WIDTH)
        for k, share in enumerate(softmax(logits)):
            past = np.array([REQUEST[n] - SECONDS[t] for t in seen])
            decayed = softmax(-past / math.exp(start[k] + weight["shift_K"][k]))
            lately += share * sum(w * x[t] for w, t in zip(decayed, seen, strict=True))
        out[n] = x[n] + lately @ weight["out"]
    return out


@cases
def test_it_equals_the_formulas_computed_by_hand(recency, x, groups, window):
    found = recency(x, view_of(groups=groups, window=window))
    wanted = by_hand(recency, x[0].numpy(), groups, window)
    np.testing.assert_allclose(found[0].detach().numpy(), wanted, rtol=0, atol=1e-7)


def test_it_begins_at_the_identity_with_the_scales_it_was_told(x):
    fresh = Recency(WIDTH, STARTS, 0.0).double()
    assert torch.equal(fresh(x, view_of()), x)
    torch.testing.assert_close(fresh.scale_s(), torch.tensor(STARTS).double())


def test_scales_are_spaced_evenly_in_their_logarithm():
    assert log_spaced(2.0, 200.0, 3) == pytest.approx((2.0, 20.0, 200.0))
    assert log_spaced(2.0, 200.0, 1) == pytest.approx((20.0,))
    assert log_spaced(2.0, 200.0, 0) == ()


def test_no_gap_however_long_or_short_is_lost_in_a_product(recency, x):
    years = 100 * 365 * 86_400
    apart = view_of([0, 0, 1, years, years], [0, 1, years, years, 2 * years])
    found = recency.float()(x.float().requires_grad_(), apart)
    found.sum().backward()
    assert found.isfinite().all()
    for weight in recency.parameters():
        assert weight.grad.isfinite().all()
        assert weight.grad.any()


BASE = Shape(
    kind="hstu", width=8, blocks=2, heads=2, length=8, dropout=0.0, id_dropout=0.0,
    time_bias=True, position_bias=True, tied_sets=True, items=9, code_sizes=(),
    recency_s=(30.0, 3000.0),
)  # fmt: skip


def build(shape):
    codes = torch.zeros(shape.items, len(shape.code_sizes), dtype=torch.long)
    torch.manual_seed(1)
    return SequenceModel(shape, codes, torch.ones(shape.items, dtype=torch.bool))


def test_without_it_the_other_weights_begin_alike():
    plain, more = (build(shape).state_dict() for shape in (replace(BASE, recency_s=()), BASE))
    assert {name.split(".")[0] for name in more.keys() - plain.keys()} == {"recency"}
    for name, value in plain.items():
        assert torch.equal(value, more[name]), name


def test_it_adds_at_most_six_per_cent_of_the_parameters_at_the_base_configuration():
    base = Shape(
        kind="hstu", width=48, blocks=2, heads=1, length=50, dropout=0.2, id_dropout=0.1,
        time_bias=True, position_bias=True, tied_sets=True, items=401, code_sizes=(33, 33, 33),
        guesses_actions=True, rank_blocks=1, rank_hidden=32, features=tuple("f" * 48),
    )  # fmt: skip
    plain, three, five = (
        sum(weight.numel() for weight in build(replace(base, recency_s=starts)).parameters())
        for starts in ((), log_spaced(1.0, 9.0, 3), log_spaced(1.0, 9.0, 5))
    )
    assert plain < three < five <= 1.06 * plain


def test_a_model_saved_before_recency_has_none(tmp_path):
    save_model(build(BASE), ["x"] * 8, tmp_path)
    again, _ = load_model(tmp_path)
    assert again.shape == BASE
    torch.testing.assert_close(again.state_part.scale_s(), torch.tensor(BASE.recency_s))
    save_model(build(replace(BASE, recency_s=())), ["x"] * 8, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["recency_s"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_model(tmp_path)[0].state_part is None


def test_scales_begin_where_the_params_say_and_only_where_times_are_real(world, small):
    small = small.model_copy(
        update={"recency_scales": 3, "recency_days": (0.5, 50.0), "epochs": 1, "use_codes": False}
    )
    assert fit("hstu", world, small, None).model.shape.recency_s == pytest.approx(
        (43_200.0, 432_000.0, 4_320_000.0)
    )
    assert fit("sasrec", world, small, None).model.state_part is None
    ordinal = replace(world, split=replace(world.split, ordinal=True))
    assert fit("hstu", ordinal, small, None).model.state_part is None


@pytest.mark.parametrize("days", [(0.0, 1.0), (2.0, 1.0), (1.0, math.inf)])
def test_scales_that_do_not_ascend_are_refused_in_one_line(days):
    with pytest.raises(BadParams, match="hstu.recency_days .* must ascend from at least a second"):
        HstuParams(recency_days=days)
