import json
import math

import pytest
import torch
from safetensors.torch import load_file

from tessera.contracts.errors import BrokenBundle
from tessera.model.nn.batch import Batch
from tessera.model.nn.ranking import AttentionView, KVCache, RankingBatch, look_back
from tessera.model.nn.tiles import time_bucket
from tessera.model.trunk.model import SequenceModel, Shape, _pool, _view, states_at
from tessera.model.trunk.saved import load_model, save_model

ITEMS, LENGTH = 9, 8


def build(kind, **changes):
    torch.manual_seed(1)
    if kind == "recency":
        kind, changes = "hstu", {"recency_s": (300.0, 90_000.0), **changes}
    wanted = {
        "kind": kind, "width": 8, "blocks": 2, "heads": 2, "length": LENGTH, "dropout": 0.0,
        "id_dropout": 0.0, "time_bias": True, "position_bias": True, "tied_sets": True,
        "items": ITEMS, "code_sizes": (4,),
    }  # fmt: skip
    codes = torch.tensor([[0], [1], [1], [2], [2], [3], [3], [3], [1]])
    warm = torch.tensor([False] + [True] * 7 + [False])
    model = SequenceModel(Shape(**{**wanted, **changes}), codes, warm)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return model.eval()


def batch_of(items, seconds, groups=None, request=None, pad=0):
    length = len(items)
    groups = groups or list(range(length))
    request = request or [*seconds[1:], seconds[-1] + 50]
    actions = [index % 3 for index in range(length)]

    def row(values, filler):
        return torch.tensor([[*values, *[filler] * pad]])

    return Batch(row(items, 0), row(actions, 0), row(seconds, 7), row(request, 9),
                 row(groups, length + pad))  # fmt: skip


def states(model, batch):
    with torch.no_grad():
        return model(batch, model.items())


every = pytest.mark.parametrize("kind", ["hstu", "sasrec", "recency"])
trunks = pytest.mark.parametrize("kind", ["hstu", "recency"])
SECONDS = [0, 10, 400, 5000, 90_000]


@every
def test_padding_changes_nothing(kind):
    model = build(kind)
    short = states(model, batch_of([1, 2, 3, 4, 5], SECONDS))
    padded = states(model, batch_of([1, 2, 3, 4, 5], SECONDS, pad=3))
    torch.testing.assert_close(padded[:, :5], short, atol=1e-6, rtol=0)
    assert not padded[:, 5:].any()


@every
def test_a_later_event_leaves_earlier_states_bit_identical(kind):
    model = build(kind)
    before = states(model, batch_of([1, 2, 3, 4, 5], SECONDS))
    # The request of state 2 is the time of event 3; the item of event 3 must stay unseen.
    changed = states(model, batch_of([1, 2, 3, 7, 6], [0, 10, 400, 5000, 5001]))
    assert torch.equal(changed[:, :3], before[:, :3])
    assert not torch.allclose(changed[:, 3:], before[:, 3:])


def remembered(model, batch):
    """Return keys and values of every layer, k_HLE and v_HLE in turns, and the states."""
    with torch.no_grad():
        seen = model.encode(batch, model.items())
    return [part[0] for one in seen.memory for part in (one.key_BHLE, one.value_BHLE)], seen


def first(batch, events):
    return Batch(*(part[:, :events] for part in fields(batch)))


@trunks
def test_a_new_event_leaves_what_is_remembered_of_the_others_bit_identical(kind):
    model = build(kind, rank_blocks=2, rank_hidden=4)
    items = [1, 2, 3, 4, 5]
    longer, _ = remembered(model, batch_of(items, SECONDS))
    for events in range(1, 5):
        # As many rows as before: products of another size may round differently.
        request = SECONDS[1 : events + 1]
        short = batch_of(items[:events], SECONDS[:events], request=request, pad=5 - events)
        for old, new in zip(remembered(model, short)[0], longer, strict=True):
            assert torch.equal(new[:, :events], old[:, :events])
            assert not torch.allclose(new[:, events], old[:, events])


def append(model, memory, batch, state):
    """Pass the last event of a batch alone through layers that remember the others."""
    events, one = batch.item_BL.shape[1], torch.zeros(1, dtype=torch.long)
    asked = RankingBatch(one, one, batch.request_BL[:, -1], state, batch.item_BL[:, -1:], one, one)
    steps_L = events - 1 - torch.arange(events)
    sight = AttentionView(
        torch.ones(1, 1, events, dtype=torch.bool), steps_L[None, None],
        time_bucket(batch.request_BL[:, -1:] - batch.second_BL)[:, None],
    )  # fmt: skip
    x = model.item_VD[batch.item_BL[:, -1]] + model.action_AD[batch.action_BL[:, -1]]
    x = (x * math.sqrt(model.shape.width) + model.position_LD[events - 1])[:, None]
    grown = []
    for layer, (key, value) in zip(model.layers, memory, strict=True):
        new_key, new_value = layer.keys_values(x)
        grown.append((torch.cat([key, new_key], 2), torch.cat([value, new_value], 2)))
        x = look_back(layer, x, asked, KVCache(*grown[-1]), sight)
    return grown, x[:, 0]


@trunks
@torch.no_grad()
def test_appending_one_event_at_a_time_equals_encoding_all_of_them_again(kind):
    model = build(kind, rank_blocks=2, rank_hidden=4, code_sizes=())
    whole = batch_of([1, 2, 3, 4, 5], SECONDS)
    empty = torch.zeros(1, 2, 0, 4)
    memory, outs = [(empty, empty)] * 2, []
    for events in range(1, 6):
        batch = first(whole, events)
        memory, state = append(model, memory, batch, torch.tensor([events - 1]))
        outs.append(state)
        if model.state_part is not None:
            view = _view(batch, batch.item_BL > 0)
            state = model.state_part(torch.stack(outs, 1), view)[:, -1]
        kept, seen = remembered(model, batch)
        appended = [part[0] for one in memory for part in one]
        torch.testing.assert_close(appended, kept, atol=1e-5, rtol=0)
        torch.testing.assert_close(state, seen.state_BLD[:, events - 1], atol=1e-5, rtol=0)


def test_the_time_bias_and_the_choice_of_scales_see_the_request_time():
    request = [10, 400, 5000, 90_000, 90_001]
    later = [10, 400, 5000, 90_000, 9_000_000]
    for kind, time_bias, same in (
        ("hstu", True, False), ("hstu", False, True), ("recency", False, False)
    ):  # fmt: skip
        model = build(kind, time_bias=time_bias)
        soon = states(model, batch_of([1, 2, 3, 4, 5], SECONDS, request=request))
        late = states(model, batch_of([1, 2, 3, 4, 5], SECONDS, request=later))
        assert torch.equal(soon[:, :4], late[:, :4])
        assert torch.allclose(soon[:, 4], late[:, 4]) is same


@every
def test_events_of_equal_time_are_a_set(kind):
    model = build(kind)
    groups, seconds, request = [0, 1, 1, 1, 2], [0, 10, 10, 10, 90], [10, 90, 90, 90, 99]
    first = batch_of([1, 2, 3, 4, 5], seconds, groups, request)
    order = torch.tensor([0, 3, 1, 2, 4])
    second = Batch(first.item_BL[:, order], first.action_BL[:, order], first.second_BL,
                   first.request_BL, first.group_BL)  # fmt: skip
    torch.testing.assert_close(states(model, first), states(model, second), atol=1e-6, rtol=0)
    other = batch_of([1, 2, 3, 6, 5], seconds, groups, request)
    assert not torch.allclose(states(model, other)[:, 1], states(model, first)[:, 1])


def test_the_state_of_a_set_is_the_mean_of_its_members():
    out = torch.arange(8.0).view(1, 4, 2)
    group, real = torch.tensor([[0, 1, 1, 4]]), torch.tensor([[True, True, True, False]])
    assert _pool(out, group, real).tolist() == [[[0, 1], [3, 4], [0, 0], [0, 0]]]


@every
def test_sequences_cut_into_parts_give_the_same_states(kind, monkeypatch):
    model = build(kind)
    rows = [batch_of([1, 2, 3], SECONDS[:3], pad=5), batch_of([4], [7], pad=7),
            batch_of([1, 2, 3, 4, 5], SECONDS, [0, 1, 1, 2, 3], pad=3)]  # fmt: skip
    whole = Batch(*(torch.cat(parts) for parts in zip(*map(fields, rows), strict=True)))
    together = states(model, whole)
    monkeypatch.setattr("tessera.model.nn.batch._RUN_POSITIONS", 6)
    torch.testing.assert_close(states(model, whole), together, atol=1e-6, rtol=0)
    for index, row in enumerate(rows):
        torch.testing.assert_close(states(model, row)[0], together[index], atol=1e-6, rtol=0)


def fields(batch):
    return (batch.item_BL, batch.action_BL, batch.second_BL, batch.request_BL, batch.group_BL)


def test_an_unseen_item_is_made_of_its_codes_alone():
    model = build("hstu")
    items = model.items()
    torch.testing.assert_close(items[8], model.item_input.get_parameter("0")[1])
    torch.testing.assert_close(items[1], model.item_VD[1] + model.item_input.get_parameter("0")[1])


def test_states_at_minus_one_is_the_learnt_start():
    model = build("hstu")
    state = states(model, batch_of([1, 2], [0, 10]))
    picked = states_at(model, state, torch.tensor([0, 0]), torch.tensor([-1, 1]))
    assert torch.equal(picked[0], model.start_D)
    assert torch.equal(picked[1], state[0, 1])


@every
def test_a_saved_model_comes_back_bit_identical(kind, tmp_path):
    model = build(kind)
    save_model(model, [f"item{row}" for row in range(1, ITEMS)], tmp_path / "model")
    again, vocabulary = load_model(tmp_path / "model")
    batch = batch_of([1, 2, 3, 4, 5], SECONDS)
    assert torch.equal(states(model, batch), states(again, batch))
    assert vocabulary[0] == "item1"
    assert again.shape == model.shape


def test_a_truncated_model_is_refused_in_one_line(tmp_path):
    save_model(build("hstu"), ["a"], tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BrokenBundle, match="publish it again"):
        load_model(tmp_path)


def test_files_are_as_they_were_before_components_could_be_chosen(tmp_path):
    model = build("recency", rank_blocks=1, rank_hidden=4, features=("a",), score="rank")
    save_model(model, ["x"] * (ITEMS - 1), tmp_path)
    names = set(load_file(tmp_path / "model.safetensors"))
    assert {name for name in names if not name.startswith(("layers.", "closed_form."))} == {
        "action_AD", "codes_VC", "codewords.0", "item_VD", "position_LD", "start_D", "warm_V",
        "rank.candidate_D", "rank.hidden.bias", "rank.hidden.weight", "rank.level", "rank.mean_F",
        "rank.out.bias", "rank.out.weight", "rank.position_PT", "rank.spread", "rank.std_F",
        "recency.gate.bias", "recency.gate.weight", "recency.out", "recency.shift_K",
    }  # fmt: skip
    config = json.loads((tmp_path / "config.json").read_text())
    assert list(config)[-1] == "recency_s"
    assert len(config) == 25
    assert torch.equal(load_model(tmp_path)[0].items(), model.items())
