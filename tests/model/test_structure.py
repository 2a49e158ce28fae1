"""What each part of the layer is for, in worlds where nothing else tells: counts and times.

HSTU, arXiv 2402.17152.  Legend: N users, L positions, H heads, E width of a head, D width.
"""

import numpy as np
import torch
from torch.nn import functional

from tessera.contracts.tables import ACTIONS
from tessera.model.nn import layer as layer_module
from tessera.model.nn.batch import Batch
from tessera.model.nn.layer import HstuLayer
from tessera.model.nn.loss import full_softmax
from tessera.model.nn.ranking import CLICK, RankingBatch
from tessera.model.params import HstuParams
from tessera.model.sequences.histories import Histories
from tessera.model.sequences.questions import top_items
from tessera.model.sequences.windows import last_windows
from tessera.model.training.examples import Examples
from tessera.model.training.train import ItemTables, train
from tessera.model.trunk import model as model_module
from tessera.model.trunk.inference import encode, item_vectors
from tessera.model.trunk.model import SequenceModel, Shape
from tessera.shared.metrics.slates import slate_auc

CLASSES, MOST = 8, 6
LENGTH = 3 * MOST


def counted(users, rng):
    """Draw histories in which three classes occur equally often, one to six times each.

    Shares are the same in all of them; only how often tells who saw the candidate three times.
    """
    count_N = rng.integers(1, MOST + 1, users)
    three_N3 = rng.random((users, CLASSES)).argsort(1)[:, :3]
    slot_L = np.arange(LENGTH)
    real_NL = slot_L < 3 * count_N[:, None]
    order_NL = np.where(real_NL, rng.random((users, LENGTH)), 2.0).argsort(1)
    item_NL = np.take_along_axis(three_N3[:, slot_L % 3], order_NL, 1) + 1
    second_NL = np.tile(slot_L, (users, 1))
    batch = Batch(*map(torch.from_numpy, (
        np.where(real_NL, item_NL, 0), np.zeros_like(item_NL), second_NL, second_NL + 1,
        np.where(real_NL, slot_L, LENGTH),
    )))  # fmt: skip
    item_N1 = torch.from_numpy(three_N3[:, :1] + 1)
    asked = RankingBatch(
        torch.arange(users), torch.zeros(users).long(), torch.full((users,), LENGTH),
        torch.from_numpy(3 * count_N - 1), item_N1, torch.ones_like(item_N1),
        torch.zeros(users, 1, 0),
    )  # fmt: skip
    return batch, asked, torch.from_numpy(count_N >= 3).float()


def softmax_attend(q_BHLE, k_BHLE, v_BHLE, _bias, view):
    score_BHLL = q_BHLE @ k_BHLE.transpose(-1, -2) / q_BHLE.shape[-1] ** 0.5
    return score_BHLL.masked_fill(~view.mask_BLL[:, None], -torch.inf).softmax(-1) @ v_BHLE


def softmax_look_back(layer, x_NMD, _asked, memory, sight):
    width = x_NMD.shape[-1:]
    gate_DD, _, query_DD, _ = layer.uvqk.chunk(4, dim=1)
    normed_NMD = functional.layer_norm(x_NMD, width, eps=1e-6)
    query_NHME = functional.silu(normed_NMD @ query_DD)[:, None]
    score_NHML = query_NHME @ memory.key_BHLE.transpose(-1, -2) / width[0] ** 0.5
    score_NHML = score_NHML.masked_fill(~sight.seen_BRL[:, None], -torch.inf)
    seen_NMD = (score_NHML.softmax(-1) @ memory.value_BHLE)[:, 0]
    gated_NMD = functional.silu(normed_NMD @ gate_DD) * functional.layer_norm(
        seen_NMD, width, eps=1e-6
    )
    return layer.out(gated_NMD) + x_NMD


def auc_of_counting(rng):
    torch.manual_seed(0)
    shape = Shape(
        "hstu", 16, 1, 1, LENGTH, 0.0, 0.0, time_bias=False, position_bias=False, tied_sets=True,
        items=CLASSES + 1, code_sizes=(), rank_blocks=1, rank_hidden=16, score="rank",
    )  # fmt: skip
    none = torch.zeros(shape.items, 0, dtype=torch.long)
    model = SequenceModel(shape, none, torch.ones(shape.items).bool())
    model.position_LD.requires_grad_(False).zero_()  # it would count by itself
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)

    def click_N(batch, asked):
        item_VD = model.items()
        return model.logits(batch, asked, model.encode(batch, item_VD), item_VD)[:, 0, CLICK]

    for _ in range(300):
        batch, asked, label_N = counted(128, rng)
        loss = functional.binary_cross_entropy_with_logits(click_N(batch, asked), label_N)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    batch, asked, label_N = counted(1000, rng)
    with torch.no_grad():
        score_1N = click_N(batch, asked).numpy()[None]
    return slate_auc(score_1N, label_N.numpy()[None], np.ones(score_1N.shape, bool))


def test_pointwise_attention_counts_where_softmax_sees_only_shares(rng, monkeypatch):
    assert auc_of_counting(rng) > 0.95
    monkeypatch.setattr(layer_module, "attend", softmax_attend)
    monkeypatch.setattr(model_module, "look_back", softmax_look_back)
    assert auc_of_counting(rng) < 0.6


TURNS = 17


def turned(first_N, second_N):
    """Return histories of two items; what follows is the sum of their numbers, modulo TURNS."""
    item_N2 = torch.stack([1 + first_N, 1 + TURNS + second_N], dim=1)
    second_N2 = torch.tensor([[0, 1]]).expand_as(item_N2)
    batch = Batch(item_N2, torch.zeros_like(item_N2), second_N2, second_N2 + 1, second_N2)
    return batch, (first_N + second_N) % TURNS


def hits_of_turning(seed):
    torch.manual_seed(seed)
    shape = Shape("hstu", 16, 1, 1, 2, 0.0, 0.0, True, True, True, 3 * TURNS + 1, ())
    none = torch.zeros(shape.items, 0, dtype=torch.long)
    model = SequenceModel(shape, none, torch.ones(shape.items).bool())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    batch, answer_N = turned(*torch.cartesian_prod(torch.arange(TURNS), torch.arange(TURNS)).T)
    answers_W = torch.arange(1 + 2 * TURNS, shape.items)
    for _ in range(250):
        item_VD = model.items()
        state_ND = model(batch, item_VD)[:, -1]
        loss = full_softmax(state_ND, item_VD, answers_W[answer_N], answers_W, 0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        state_ND, item_WD = model(batch, model.items())[:, -1], model.items()[answers_W]
        best_N = (state_ND @ functional.normalize(item_WD, dim=-1).T).argmax(1)
    return (best_N == answer_N).double().mean().item()


def without_gate(layer, x_BLD, weight_DF, mix=HstuLayer._mix):
    u_BLD, *others = mix(layer, x_BLD, weight_DF).chunk(4, dim=-1)
    return torch.cat([torch.ones_like(u_BLD), *others], dim=-1)


def test_the_gate_multiplies_what_two_events_say(monkeypatch):
    """U: products of sines turn one number by another; a sum of what both say must learn them."""
    assert np.mean([hits_of_turning(seed) for seed in range(3)]) > 0.95
    monkeypatch.setattr(HstuLayer, "_mix", without_gate)
    assert np.mean([hits_of_turning(seed) for seed in range(3)]) < 0.85


ITEMS, EVENTS, USERS = 20, 20, 400
ACTION = ACTIONS.index("click")


def timed(rng):
    """Return histories, the next item and its second; after a pause everybody begins at item 1.

    Within the hour the next item of a chain follows, so that half of all steps need the clock.
    """
    after = 1 + rng.permutation(ITEMS)
    is_pause_UE = rng.random((USERS, EVENTS)) < 0.5
    gap_UE = np.where(
        is_pause_UE,
        rng.integers(86_400, 604_800, (USERS, EVENTS)),
        rng.integers(60, 3600, (USERS, EVENTS)),
    )
    item_UE = rng.integers(1, ITEMS + 1, (USERS, EVENTS + 1))
    for step in range(EVENTS):
        next_U = np.where(is_pause_UE[:, step], 1, after[item_UE[:, step] - 1])
        item_UE[:, step + 1] = np.where(rng.random(USERS) < 0.9, next_U, item_UE[:, step + 1])
    second_UE = 1_700_000_000 + np.cumsum(gap_UE, axis=1)
    first_U1 = np.arange(USERS + 1) * EVENTS
    start_UE = second_UE - gap_UE
    histories = Histories(
        [f"u{user}" for user in range(USERS)], first_U1,
        np.repeat(np.arange(USERS), EVENTS), item_UE[:, :-1].ravel(),
        np.full(USERS * EVENTS, ACTION), start_UE.ravel() * 1_000_000,
        np.zeros(USERS * EVENTS, np.int64), np.tile(np.arange(EVENTS), USERS),
    )  # fmt: skip
    return histories, item_UE[:, -1], second_UE[:, -1]


def hits_at_1(histories, next_U, second_U, *, time_bias):
    params = HstuParams(
        width=16, blocks=2, length=EVENTS, epochs=30, batch=16, dropout=0.1, learning_rate=0.01,
        average_epochs=0.5, targets=("click",), mask_weight=0.0,
    )  # fmt: skip
    shape = Shape("hstu", 16, 2, 1, EVENTS, 0.1, 0.0, time_bias, True, True, ITEMS + 1, ())
    asked_U = np.arange(250, USERS)
    first_U1 = histories.first_U1
    stop_U = np.where(np.arange(USERS) < 250, first_U1[1:], first_U1[:-1])
    none = torch.zeros(ITEMS + 1, 0, dtype=torch.long)
    examples = Examples(histories, stop_U, np.array([ACTION]))
    model = train(shape, ItemTables(none), examples, None, params, None).model
    windows = last_windows(
        first_U1[asked_U], first_U1[asked_U + 1], second_U[asked_U], model.shape.length
    )
    state = encode(model, histories, windows)
    lists = top_items(state, item_vectors(model), np.arange(ITEMS + 1) > 0, None, 1)
    return (lists.item_UK[:, 0] == next_U[asked_U]).mean()


def test_without_the_time_bias_nobody_can_tell_a_pause():
    world = timed(np.random.default_rng(0))
    assert hits_at_1(*world, time_bias=True) > 0.8
    assert hits_at_1(*world, time_bias=False) < 0.65
