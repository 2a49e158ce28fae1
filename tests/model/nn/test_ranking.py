"""Candidates share one pass over the history and do not know of each other, nor of the future."""

import json
import math
from dataclasses import fields, replace

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from tessera.contracts.errors import BrokenBundle
from tessera.contracts.tables import ACTIONS
from tessera.model.nn.batch import Batch
from tessera.model.nn.cross_entropy import rank_loss
from tessera.model.nn.ranking import TASKS, RankingBatch, RankingLabels, answered_logit
from tessera.model.nn.tiles import time_bucket
from tessera.model.trunk.flops import (
    history_flops,
    memory_flops,
    one_trunk_flops,
    rank_flops,
    retrieve_flops,
    state_part_flops,
    two_encoders_flops,
    two_pruned_encoders_flops,
)
from tessera.model.trunk.model import SequenceModel, Shape
from tessera.model.trunk.saved import load_model, save_model

ITEMS, LENGTH, FEATURES = 30, 8, 3
SECONDS = [0, 10, 400, 5000, 90_000]
BASE = Shape(
    kind="hstu", width=8, blocks=2, heads=2, length=LENGTH, dropout=0.0, id_dropout=0.0,
    time_bias=True, position_bias=True, tied_sets=True, items=ITEMS, code_sizes=(),
    guesses_actions=True, rank_blocks=1, rank_hidden=6, features=("a", "b", "c"), score="rank",
)  # fmt: skip


def build(std=0.5, **changes):
    torch.manual_seed(1)
    shape = replace(BASE, **changes)
    codes = torch.zeros(shape.items, 0, dtype=torch.long)
    model = SequenceModel(shape, codes, torch.ones(shape.items, dtype=torch.bool))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=std)
    return model.eval()


def history(items=(1, 2, 3, 4, 5), seconds=SECONDS, request=100_000, pad=0):
    length = len(items)
    return Batch(
        torch.tensor([[*items, *[0] * pad]]),
        torch.tensor([[index % 3 for index in range(length)] + [0] * pad]),
        torch.tensor([[*seconds, *[7] * pad]]),
        torch.tensor([[*seconds[1:], request, *[9] * pad]]),
        torch.tensor([[*range(length), *[length + pad] * pad]]),
    )


def ask(items, state=4, second=100_000, seed=2):
    """Ask for candidates whose features depend on the item alone."""
    table = torch.randn(ITEMS, FEATURES, generator=torch.Generator().manual_seed(seed))
    item_NM, zero = torch.tensor([items]), torch.tensor([0])
    return RankingBatch(
        zero, zero, torch.tensor([second]), torch.tensor([state]), item_NM,
        torch.ones_like(item_NM), table[item_NM],
    )  # fmt: skip


def rank(model, batch, asked):
    with torch.no_grad():
        item_VD = model.items()
        return model.logits(batch, asked, model.encode(batch, item_VD), item_VD)[0]


blocks = pytest.mark.parametrize("rank_blocks", [1, 2])


@blocks
def test_many_candidates_get_the_logits_of_one_at_a_time(rank_blocks):
    model = build(rank_blocks=rank_blocks)
    items = list(range(1, 26))
    together = rank(model, history(), ask(items))
    alone = torch.cat([rank(model, history(), ask([item])) for item in items])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    assert together.std(0).min() > 0.1


@blocks
def test_removing_and_permuting_candidates_changes_nothing(rank_blocks):
    model = build(rank_blocks=rank_blocks)
    items = [7, 3, 9, 12, 5]
    logits = rank(model, history(), ask(items))
    permuted = rank(model, history(), ask([items[k] for k in (4, 0, 3, 1, 2)]))
    torch.testing.assert_close(permuted, logits[[4, 0, 3, 1, 2]], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        rank(model, history(), ask(items[1:4])), logits[1:4], atol=1e-5, rtol=0
    )


@blocks
def test_padding_and_later_events_change_no_logit(rank_blocks):
    model = build(rank_blocks=rank_blocks)
    early = ask([6, 7], state=2, second=600)
    short = history((1, 2, 3), SECONDS[:3], request=600)
    logits = rank(model, short, early)
    torch.testing.assert_close(
        rank(model, history((1, 2, 3), SECONDS[:3], 600, pad=2), early), logits, atol=1e-6, rtol=0
    )
    longer = history((1, 2, 3, 4, 5), SECONDS)
    longer.request_BL[0, 2] = 600
    for last in (4, 20):
        longer.item_BL[0, 3] = last
        torch.testing.assert_close(rank(model, longer, early), logits, atol=1e-6, rtol=0)
    assert not torch.allclose(rank(model, longer, ask([6, 7], state=3, second=600)), logits)


def test_requests_of_one_batch_are_ranked_as_if_alone():
    model = build()
    both = [history(), history((9, 8, 7, 6, 5))]
    names = [field.name for field in fields(Batch)]
    many = Batch(*(torch.cat([getattr(one, name) for one in both]) for name in names))
    alone = [ask([3, 4], 2, 500), ask([5, 6], 4, 99_000), ask([7, 8], -1, 5)]
    asked = RankingBatch(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), *(
        torch.cat([getattr(one, name) for one in alone])
        for name in ("second_N", "state_N", "item_NM", "position_NM", "feature_NMF")
    ))  # fmt: skip
    with torch.no_grad():
        item_VD = model.items()
        logits = model.logits(many, asked, model.encode(many, item_VD), item_VD)
    rows = ((1, 2, 3, 4, 5), (9, 8, 7, 6, 5), (9, 8, 7, 6, 5))
    for found, items, one in zip(logits, rows, alone, strict=True):
        torch.testing.assert_close(found, rank(model, history(items), one), atol=1e-5, rtol=0)


def test_without_history_a_candidate_is_ranked_by_itself_and_its_features():
    model = build()
    empty = ask([6, 7], state=-1)
    one = rank(model, history(), empty)
    torch.testing.assert_close(rank(model, history((9, 9, 8, 1, 2)), empty), one)
    assert one.isfinite().all()
    assert not torch.allclose(one[0], one[1])


def test_the_request_time_reaches_the_logits_through_the_time_bias_alone():
    for time_bias in (True, False):
        model = build(time_bias=time_bias)
        early, late = (rank(model, history(), ask([6], second=at)) for at in (90_001, 9_000_000))
        assert torch.equal(early, late) != time_bias


def test_the_last_layer_is_what_it_says_computed_by_hand():
    model = build(heads=1)
    batch, asked = history(), ask([6])
    with torch.no_grad():
        item_VD, layer = model.items(), model.layers[1]
        x = item_VD[batch.item_BL[0]] + model.action_AD[batch.action_BL[0]]
        x = x * math.sqrt(8) + model.position_LD[:5]
        from tessera.model.trunk.model import _view

        x = model.layers[0](x[None], _view(batch, batch.item_BL > 0))[0]
        candidate = (item_VD[6] + model.rank.candidate_D) * math.sqrt(8) + model.position_LD[5]
        _, v, _, k = functional.silu(functional.layer_norm(x, (8,), eps=1e-6) @ layer.uvqk).chunk(
            4, 1
        )
        u, _, q, _ = functional.silu(
            functional.layer_norm(candidate, (8,), eps=1e-6) @ layer.uvqk
        ).chunk(4)
        seen = torch.zeros(8)
        for j in range(5):
            gap = torch.tensor(100_000 - SECONDS[j])
            bias = layer.bias.position[5 - j + LENGTH - 1] + layer.bias.time[time_bucket(gap)]
            seen = seen + functional.silu(q @ k[j] + bias) / LENGTH * v[j]
        out = layer.out(u * functional.layer_norm(seen, (8,), eps=1e-6)) + candidate
        state = model(batch, item_VD)[0, 4]
        cosine = functional.cosine_similarity(state, item_VD[6], dim=0)
        parts = (functional.layer_norm(out, (8,), eps=1e-6),
                 functional.layer_norm(item_VD[6], (8,), eps=1e-6),
                 cosine[None] * math.sqrt(8), asked.feature_NMF[0, 0])  # fmt: skip
        net = model.rank.net
        wanted = net.out(functional.silu(net.hidden(torch.cat(parts))))
        wanted = wanted + model.rank.position_PT[1]
    torch.testing.assert_close(rank(model, batch, asked)[0], wanted, atol=1e-5, rtol=1e-5)


def test_unknown_features_count_as_average_and_outliers_are_cut():
    model = build()
    rows = torch.tensor([[0.0, 5.0, 1.0], [2.0, torch.nan, 1.0], [4.0, 7.0, 1.0]])
    model.rank.standardise(lambda: [rows[:2], rows[2:]])
    torch.testing.assert_close(model.rank.mean_F, torch.tensor([2.0, 6.0, 1.0]))
    asked = ask([6])

    def told(*values):
        return rank(model, history(), replace(asked, feature_NMF=torch.tensor([[values]])))

    torch.testing.assert_close(told(2.0, torch.nan, 1.0), told(2.0, 6.0, 1.0))
    torch.testing.assert_close(told(1e9, 6.0, 1.0), told(1e6, 6.0, 1.0))
    assert not torch.allclose(told(3.0, 6.0, 1.0), told(2.0, 6.0, 1.0))


def test_only_known_answers_weigh_in_the_loss():
    logits = torch.randn(2, 3, len(TASKS), generator=torch.Generator().manual_seed(0))
    label, weight = (logits > 0.3).float(), torch.ones_like(logits)
    weight[1], weight[..., 3] = 0.0, 0.0
    loss = rank_loss(logits, RankingLabels(label, weight))
    by_task = [functional.binary_cross_entropy_with_logits(logits[0, :, t], label[0, :, t])
               for t in range(3)]  # fmt: skip
    torch.testing.assert_close(loss, torch.stack(by_task).mean())
    twice = rank_loss(logits, RankingLabels(label, weight * 2))
    torch.testing.assert_close(loss, twice)
    assert rank_loss(logits, RankingLabels(label, weight * 0)) == 0.0


def test_the_odds_of_an_answer_are_those_of_a_click_or_a_purchase():
    logits = torch.tensor([[0.0, -1.0, 9.0, 9.0], [-20.0, -20.0, 0.0, 0.0]], dtype=torch.double)
    neither = (1 - logits[:, 0].sigmoid()) * (1 - logits[:, 1].sigmoid())
    torch.testing.assert_close(answered_logit(logits), ((1 - neither) / neither).log())


# Masked action modelling.


def masked_pass(model, actions, masked):
    batch = replace(history(), action_BL=torch.tensor([actions]))
    with torch.no_grad():
        return model.encode(batch, model.items(), torch.tensor([masked])).out_BLD[0]


def test_a_hidden_action_cannot_be_read_off_the_state_that_must_guess_it():
    model = build()
    hidden = [False, False, True, False, False]
    one, other = (masked_pass(model, [0, 1, action, 3, 4], hidden) for action in (2, 5))
    assert torch.equal(one, other)
    one, other = (masked_pass(model, [0, 1, action, 3, 4], [False] * 5) for action in (2, 5))
    assert not torch.allclose(one[2], other[2])
    assert torch.equal(one[:2], other[:2])


@pytest.mark.parametrize("action", ["sell", "dismiss"])
def test_sold_and_dismissed_move_every_state_from_there_on(action):
    model, none = build(), [False] * 5
    told = masked_pass(model, [0, 1, ACTIONS.index(action), 3, 4], none)
    for other in set(ACTIONS) - {action}:
        found = masked_pass(model, [0, 1, ACTIONS.index(other), 3, 4], none)
        assert torch.equal(found[:2], told[:2])
        assert ((found[2:] - told[2:]).abs().amax(1) > 1e-3).all()
    model.action_AD.data[ACTIONS.index(action)] = 0.0
    silent = masked_pass(model, [0, 1, ACTIONS.index(action), 3, 4], none)
    assert ((silent[2:] - told[2:]).abs().amax(1) > 1e-3).all()


def test_the_loss_of_hidden_actions_counts_hidden_events_only():
    model = build()
    out = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(0))
    actions = torch.tensor([[0, 1, 2, 3, 4]])
    hidden = torch.tensor([[False, True, False, False, True]])
    wanted = functional.cross_entropy(model.actions.guess(out[0, [1, 4]]), torch.tensor([1, 4]))
    torch.testing.assert_close(model.actions.loss(out, actions, hidden), wanted)
    assert model.actions.loss(out, actions, hidden & False) == 0.0


# What it costs.


def flops_of_linear(x_shape, weight_shape, *_, **__):
    return 2 * math.prod(x_shape) * weight_shape[0]


def flops_of_added_products(_, left_shape, right_shape, **__):
    return 2 * math.prod(left_shape) * right_shape[-1]


@pytest.mark.parametrize(
    ("events", "changes"),
    [(50, {}), (200, {}), (50, {"rank_blocks": 2}), (50, {"recency_s": (9.0, 90.0, 900.0)})],
)
def test_the_counted_operations_are_those_that_torch_counts(events, changes):
    model = build(std=0.02, width=48, heads=1, length=events, **changes)
    items = [1 + k % (ITEMS - 1) for k in range(events)]
    batch, asked = history(items, list(range(events))), ask([5] * 200, state=events - 1)
    unknown_to_torch = {
        torch.ops.mkldnn._linear_pointwise: flops_of_linear,
        torch.ops.aten.baddbmm_: flops_of_added_products,
    }
    counting = FlopCounterMode(display=False, custom_mapping=unknown_to_torch)
    with torch.no_grad(), counting as counter:
        seen = model.encode(batch, model.items())
        passed = counter.get_total_flops()
        model.logits(batch, asked, seen, model.items())
    assert passed == history_flops(model.shape, events) + memory_flops(model.shape, events)
    assert counter.get_total_flops() - passed == rank_flops(model.shape, events, 200)


@pytest.mark.parametrize("events", [50, 100, 200])
def test_retrieving_and_ranking_200_costs_at_most_60_percent_of_two_encoders(events):
    shape = replace(
        BASE, width=48, heads=1, length=events, items=401, rank_hidden=32,
        features=tuple("f" * 48),
    )  # fmt: skip
    ratio = one_trunk_flops(shape, events, 200) / two_encoders_flops(shape, events, 200)
    assert ratio <= 0.60
    stub = history_flops(shape, events) + one_trunk_flops(shape, events, 200)
    assert stub > 0.60 * two_encoders_flops(shape, events, 200)


@pytest.mark.parametrize(("events", "share"), [(50, 0.864), (100, 0.819), (200, 0.778)])
def test_beside_two_encoders_that_prune_alike_one_trunk_saves_less(events, share):
    """A second encoder has no use for recency summaries, so they change only the first."""
    shape = replace(
        BASE, width=48, heads=1, length=events, items=401, rank_hidden=32,
        features=tuple("f" * 48),
    )  # fmt: skip
    # A ranker that prunes has no queries of the history, and no output, in its upper layer.
    upper = history_flops(replace(shape, blocks=1), events)
    alone = history_flops(shape, events) - upper + memory_flops(shape, events)
    alone += rank_flops(shape, events, 200)
    both = history_flops(shape, events) + retrieve_flops(shape) + alone
    assert two_pruned_encoders_flops(shape, events, 200) == both
    recent = replace(shape, recency_s=(3600.0, 86_400.0))
    more = state_part_flops(recent, events)
    assert two_pruned_encoders_flops(recent, events, 200) == both + more > both
    whole = two_encoders_flops(shape, events, 200)
    assert two_encoders_flops(recent, events, 200) == whole + more
    assert one_trunk_flops(shape, events, 200) / both == pytest.approx(share, abs=0.001)


def test_50_candidates_at_once_cost_less_than_a_tenth_of_one_at_a_time():
    shape = replace(BASE, width=48, heads=1, length=50, items=401, rank_hidden=32)
    history = history_flops(shape, 50) + memory_flops(shape, 50)
    together = history + rank_flops(shape, 50, 50)
    assert 10 * together < 50 * (history + rank_flops(shape, 50, 1))


def test_pruning_the_queries_of_the_upper_layer_saves_more_than_half_of_it():
    """SORT, arXiv 2603.03988: for ranking the history has keys and values there, no queries."""
    shape = replace(BASE, width=48, heads=1, length=200, items=401, rank_hidden=32)
    candidates = rank_flops(shape, 200, 50) - rank_flops(replace(shape, rank_blocks=0), 200, 50)
    queries = history_flops(replace(shape, blocks=1), 200)
    pruned = memory_flops(shape, 200) + candidates
    assert pruned < 0.5 * (queries + candidates)


# On disk.


def test_a_bundle_carries_the_head(tmp_path):
    model = build()
    rows = torch.randn(20, FEATURES)
    model.rank.standardise(lambda: [rows])
    save_model(model, ["x"] * (ITEMS - 1), tmp_path)
    again, _ = load_model(tmp_path)
    assert again.shape == model.shape
    asked = ask([3, 4, 5])
    assert torch.equal(rank(again, history(), asked), rank(model, history(), asked))


def test_a_bundle_says_what_a_request_costs(tmp_path):
    for folder, blocks in (("with", 1), ("without", 0)):
        shape = {} if blocks else {"rank_hidden": 0, "features": (), "feature_groups": ()}
        model = build(rank_blocks=blocks, **shape)
        save_model(model, ["x"] * (ITEMS - 1), tmp_path / folder)
        length = model.shape.length
        wanted = history_flops(model.shape, length) + retrieve_flops(model.shape)
        if blocks:
            wanted += memory_flops(model.shape, length) + rank_flops(model.shape, length, 200)
        told = json.loads((tmp_path / folder / "cost.json").read_text())
        assert told == {"mflops_per_request": pytest.approx(wanted / 1e6), "candidates": 200}


def test_a_bundle_from_before_the_head_still_loads(tmp_path):
    plain = build(rank_blocks=0, rank_hidden=0, features=(), guesses_actions=False, score="recall")
    save_model(plain, ["x"] * (ITEMS - 1), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    new = ("guesses_actions", "rank_blocks", "rank_hidden", "feature_groups", "features", "score")
    (tmp_path / "config.json").write_text(
        json.dumps({name: value for name, value in config.items() if name not in new})
    )
    assert load_model(tmp_path)[0].rank is None
    (tmp_path / "config.json").write_text(
        json.dumps({**config, "rank_blocks": 1, "rank_hidden": 4})
    )
    with pytest.raises(BrokenBundle, match="publish it again"):
        load_model(tmp_path)


def test_a_bundle_from_before_causal_edges_were_a_group_is_told_of_them(tmp_path):
    features = ("held", "causal_best", "causal_sum")
    save_model(build(features=features, feature_groups=("graph",)), ["x"] * (ITEMS - 1), tmp_path)
    assert load_model(tmp_path)[0].shape.feature_groups == ("graph", "causal")
    without = build(features=("held", "a", "b"), feature_groups=("graph",))
    save_model(without, ["x"] * (ITEMS - 1), tmp_path)
    assert load_model(tmp_path)[0].shape.feature_groups == ("graph",)
