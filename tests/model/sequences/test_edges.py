"""Attention adds the weight of the edge from the earlier item to the later one, or candidate."""

import json
import math
from dataclasses import fields, replace

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.nn import functional

from tessera.contracts.arrow import schema
from tessera.contracts.errors import BadParams, BrokenBundle
from tessera.contracts.tables import EDGES
from tessera.model.nn.batch import Batch
from tessera.model.nn.ranking import RankingBatch
from tessera.model.sequences import edges as edges_module
from tessera.model.sequences.edges import read_edges
from tessera.model.trunk.model import SequenceModel, Shape
from tessera.model.trunk.saved import load_model, save_model

ITEMS, LENGTH, WIDTH = 20, 8, 8
BASE = Shape(
    kind="hstu", width=WIDTH, blocks=1, heads=1, length=LENGTH, dropout=0.0, id_dropout=0.0,
    time_bias=False, position_bias=False, tied_sets=True, items=ITEMS, code_sizes=(),
    rank_blocks=1, rank_hidden=6, score="rank", edge_bias=True,
)  # fmt: skip


def edge_table():
    edge_VV = torch.randn(ITEMS, ITEMS, generator=torch.Generator().manual_seed(4)).clamp(-1, 1)
    edge_VV[0], edge_VV[:, 0] = 0.0, 0.0
    return edge_VV


def build(extra=0.7, **changes):
    torch.manual_seed(1)
    shape = replace(BASE, **changes)
    codes = torch.zeros(shape.items, 0, dtype=torch.long)
    warm = torch.ones(shape.items, dtype=torch.bool)
    model = SequenceModel(shape, codes, warm, edge_table() if shape.edge_bias else None)
    for name, weight in sorted(model.named_parameters()):
        if not name.endswith("bias.extra"):
            torch.nn.init.normal_(weight, std=0.5)
        else:
            weight.data.fill_(extra)
    return model.eval()


def history(items=(1, 2, 3, 4), groups=None, pad=0):
    length = len(items)
    groups = groups or tuple(range(length))
    return Batch(
        torch.tensor([[*items, *[0] * pad]]),
        torch.zeros(1, length + pad, dtype=torch.long),
        torch.tensor([[*(100 * group for group in groups), *[0] * pad]]),
        torch.tensor([[*(100 * group + 100 for group in groups), *[0] * pad]]),
        torch.tensor([[*groups, *[length + pad] * pad]]),
    )


def ask(items, state=3, sequence=0, slot=0):
    return RankingBatch(
        torch.tensor([sequence]), torch.tensor([slot]), torch.tensor([100 * state + 50]),
        torch.tensor([state]), torch.tensor([items]), torch.ones(1, len(items), dtype=torch.long),
        torch.zeros(1, len(items), 0),
    )  # fmt: skip


def states(model, batch):
    with torch.no_grad():
        return model(batch, model.items())


def logits(model, batch, asked):
    with torch.no_grad():
        item_VD = model.items()
        return model.logits(batch, asked, model.encode(batch, item_VD), item_VD)


groupings = pytest.mark.parametrize("groups", [None, (0, 1, 1, 2)], ids=["apart", "tied"])


@groupings
def test_a_zero_scalar_changes_nothing(groups):
    plain, still, moved = build(edge_bias=False), build(extra=0.0), build(extra=0.7)
    batch = history(groups=groups)
    asked = ask([5, 6], state=(groups or (3,))[-1])
    for look in (lambda m: states(m, batch), lambda m: logits(m, batch, asked)):
        assert torch.equal(look(still), look(plain))
        assert not torch.allclose(look(moved), look(plain))


def mixed(model, x):
    normed = functional.layer_norm(x, (WIDTH,), eps=1e-6)
    return functional.silu(normed @ model.layers[0].uvqk).chunk(4, dim=-1)


def test_a_state_is_what_the_weights_say_computed_by_hand():
    model, items, edge_VV = build(blocks=1), (1, 2, 3, 4), edge_table()
    with torch.no_grad():
        x = model.items()[list(items)] + model.action_AD[0]
        x = x * math.sqrt(WIDTH) + model.position_LD[:4]
        u, v, q, k = mixed(model, x)
        seen = torch.zeros(WIDTH)
        for j in range(4):
            score = q[3] @ k[j] + 0.7 * edge_VV[items[j], items[3]]
            seen = seen + functional.silu(score) / LENGTH * v[j]
        wanted = model.layers[0].out(u[3] * functional.layer_norm(seen, (WIDTH,), eps=1e-6)) + x[3]
    torch.testing.assert_close(states(model, history())[0, 3], wanted, atol=1e-5, rtol=1e-5)


def test_a_candidate_is_what_the_weights_say_computed_by_hand(monkeypatch):
    model, items, edge_VV = build(), (1, 2, 3, 4), edge_table()
    caught = []
    monkeypatch.setattr(
        model.rank, "forward", lambda out, *rest: caught.append(out) or torch.zeros(1)
    )
    logits(model, history(), ask([5, 6]))
    with torch.no_grad():
        x = model.items()[list(items)] + model.action_AD[0]
        x = x * math.sqrt(WIDTH) + model.position_LD[:4]
        _, v, _, k = mixed(model, x)
        for slot, item in enumerate((5, 6)):
            candidate = (model.items()[item] + model.rank.candidate_D) * math.sqrt(WIDTH)
            candidate = candidate + model.position_LD[4]
            u, _, q, _ = mixed(model, candidate)
            seen = torch.zeros(WIDTH)
            for j in range(4):
                score = q @ k[j] + 0.7 * edge_VV[items[j], item]
                seen = seen + functional.silu(score) / LENGTH * v[j]
            gated = u * functional.layer_norm(seen, (WIDTH,), eps=1e-6)
            wanted = model.layers[0].out(gated) + candidate
            torch.testing.assert_close(caught[0][0, slot], wanted, atol=1e-5, rtol=1e-5)


def test_padding_and_company_change_nothing():
    model = build(blocks=2, heads=2, time_bias=True, position_bias=True)
    one, other = history(), history((9, 8, 7, 6), (0, 1, 1, 2))
    padded = history(pad=3)
    torch.testing.assert_close(states(model, padded)[:, :4], states(model, one))
    torch.testing.assert_close(
        logits(model, padded, ask([5, 6, 0])), logits(model, one, ask([5, 6, 0]))
    )
    both = Batch(*(
        torch.cat([getattr(batch, field.name) for batch in (one, other)])
        for field in fields(Batch)
    ))  # fmt: skip
    alone = [ask([5, 6]), ask([7, 0], state=2), ask([8, 9], state=-1)]
    rows = (torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]))
    together = RankingBatch(*rows, *(
        torch.cat([getattr(asked, field.name) for asked in alone])
        for field in fields(RankingBatch)[2:]
    ))  # fmt: skip
    found = logits(model, both, together)
    for row, (batch, asked) in enumerate(zip((one, other, other), alone, strict=True)):
        torch.testing.assert_close(found[row], logits(model, batch, asked)[0])


def test_the_scalar_learns():
    model = build().train()
    item_VD = model.items()
    batch, asked = history(), ask([5, 6])
    model.logits(batch, asked, model.encode(batch, item_VD), item_VD).sum().backward()
    assert model.layers[0].bias.extra.grad != 0


def test_edges_travel_with_the_model(tmp_path):
    model = build()
    save_model(model, ["x"] * (ITEMS - 1), tmp_path)
    again, _ = load_model(tmp_path)
    assert again.shape == model.shape
    assert torch.equal(again.edge_VV, model.edge_VV)
    assert torch.equal(logits(again, history(), ask([5])), logits(model, history(), ask([5])))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "edge_bias": False}))
    with pytest.raises(BrokenBundle, match="publish it again"):
        load_model(tmp_path)


def test_a_model_saved_before_edges_has_none(tmp_path):
    save_model(build(edge_bias=False), ["x"] * (ITEMS - 1), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["edge_bias"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_model(tmp_path)[0].edge_VV is None


def table_of(*rows):
    names = ("source_id", "target_id", "kind", "weight", "support")
    made = [dict(zip(names, (*row, 3), strict=True)) for row in rows]
    return ibis.memtable(pa.Table.from_pylist(made, schema=schema(EDGES)))


def test_kinds_are_levelled_and_added_with_their_sign():
    table = table_of(
        ("a", "b", "transition", 0.1), ("b", "a", "transition", 0.05),
        ("a", "b", "co_acquired", 0.4), ("c", "a", "causal", -3.0), ("a", "c", "causal", 1.5),
        ("a", "gone", "causal", 9.0), ("a", "sector:x", "sector", 9.0),
    )  # fmt: skip
    wanted = torch.zeros(4, 4)
    wanted[1, 2], wanted[2, 1], wanted[3, 1], wanted[1, 3] = 1.0, 0.25, -0.5, 0.25
    torch.testing.assert_close(read_edges(table, ["a", "b", "c"]), wanted)


def test_a_market_without_edges_has_weights_of_zero():
    assert not read_edges(table_of(), ["a", "b"]).any()


def test_a_catalogue_too_large_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(edges_module, "MOST_ROWS", 3)
    read_edges(table_of(), ["a", "b"])
    with pytest.raises(BadParams, match="edge_bias needs at most 2 items, there are 3"):
        read_edges(table_of(), ["a", "b", "c"])


def test_the_stage_trains_and_saves_what_it_read(run_trunk, slated, small):
    folder, _ = run_trunk(slated, small.model_copy(update={"edge_bias": True, "epochs": 2}))
    model, vocabulary = load_model(folder / "model")
    first, second = (vocabulary.index(item) + 1 for item in ("i00", "i01"))
    assert model.edge_VV[first, second] == 1.0
    assert model.edge_VV[second, first] == 0.0
    assert all(layer.bias.extra != 0 for layer in model.layers)
    assert set(pq.read_table(folder / "lists.parquet")["model"].to_pylist()) == {
        "hstu", "hstu_session",
    }  # fmt: skip
