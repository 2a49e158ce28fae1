"""What every component of a model must do.  A new one inherits the suite of its kind by a line.

Legend: B sequences, L positions, V items with padding first, C code levels, D width, N requests,
M candidates of a request, I inputs, T tasks.
"""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tessera.model.nn import plugs
from tessera.model.nn.batch import Batch
from tessera.model.nn.device import threads
from tessera.model.nn.item_trie import item_trie
from tessera.model.nn.ranking import CLICK, TASKS, RankingBatch, RankingLabels
from tessera.model.nn.tiles import View
from tessera.model.params import HstuParams
from tessera.model.training.examples import Targets
from tessera.model.training.objective import Lesson, batch_loss
from tessera.model.trunk.model import SequenceModel, Shape
from tessera.model.trunk.saved import load_model, save_model

# Every name in a registry of `nn/plugs.py`, with settings to judge it by.
ITEM_INPUTS = {
    "codewords": {"sizes": (5, 4), "id_dropout": 0.2},
    "prefix": {"sizes": (5, 4), "id_dropout": 0.2, "rows": 16, "hashes": 2},
    "weighed": {"sizes": (5, 4), "id_dropout": 0.2, "items": 13, "share": "net"},
}
STATE_PARTS = {
    "recency": {"start_s": (3600.0, 86_400.0)},
}
RANK_NETS = {
    "hidden": {"width": 6},
}
RANK_OBJECTIVES = {
    "cross_entropy": {},
}
GENERATIVE_HEADS = {
    "level_nets": {"hidden": 5},
}

SUITES = {
    "item_input": ITEM_INPUTS, "state_part": STATE_PARTS,
    "rank_net": RANK_NETS, "rank_objective": RANK_OBJECTIVES,
    "generative_head": GENERATIVE_HEADS,
}  # fmt: skip
every = pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, suite in SUITES.items() for name in suite]
)
item_inputs = pytest.mark.parametrize("name", ITEM_INPUTS)
state_parts = pytest.mark.parametrize("name", STATE_PARTS)
rank_nets = pytest.mark.parametrize("name", RANK_NETS)
rank_objectives = pytest.mark.parametrize("name", RANK_OBJECTIVES)

WIDTH, ITEMS, LENGTH, SEQUENCES, INPUTS = 8, 13, 6, 24, 11
PARAMS = HstuParams(rank_weight=1.0, mask_weight=0.0, temperature=0.1)
SHAPE = Shape(
    "hstu", WIDTH, 1, 1, LENGTH, 0.0, 0.0, True, True, True, ITEMS, (5, 4),
    rank_blocks=1, rank_hidden=6, features=("a",), score="rank",
)  # fmt: skip
CODES_VC = torch.stack([torch.arange(ITEMS) % 5, torch.arange(ITEMS) // 4], 1)
WARM_V = torch.arange(ITEMS) < ITEMS - 1


@pytest.fixture(autouse=True)
def one_thread():
    with threads(1):
        yield


def component(kind, name):
    return plugs.KINDS[kind][name](**SUITES[kind][name])


def stirred(module):
    """Return the module away from where it starts, where much is zero."""
    torch.manual_seed(5)
    for weight in module.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    return module.eval()


# All of them.


def test_no_component_escapes_its_laws():
    assert {kind: set(suite) for kind, suite in SUITES.items()} == {
        kind: set(registry) for kind, registry in plugs.KINDS.items()
    }


def planted():
    """Walks around a ring of items, and slates whose click is the next item of the ring."""
    rng = torch.Generator().manual_seed(2)
    start_B1 = torch.randint(12, (SEQUENCES, 1), generator=rng)
    item_BL = 1 + (start_B1 + torch.arange(LENGTH + 1)) % 11
    second_BL = torch.randint(60, 90_000, (SEQUENCES, LENGTH + 1), generator=rng).cumsum(1)
    order_BL = torch.arange(LENGTH).expand(SEQUENCES, -1)
    batch = Batch(
        item_BL[:, :-1], torch.zeros_like(order_BL), second_BL[:, :-1], second_BL[:, 1:], order_BL
    )
    every_B = torch.arange(SEQUENCES)
    zero_B, last_B = torch.zeros_like(every_B), torch.full_like(every_B, LENGTH - 1)
    next_B1 = item_BL[:, -1:]
    item_NM = torch.cat([next_B1, 1 + (next_B1 + 3) % 11, 1 + (next_B1 + 6) % 11], 1)
    feature_NMF = torch.randn(SEQUENCES, 3, 1, generator=rng)
    asked = RankingBatch(every_B, zero_B, second_BL[:, -1], last_B, item_NM,
                         torch.ones_like(item_NM), feature_NMF)  # fmt: skip
    label_NMT = (item_NM == next_B1)[..., None].float().repeat(1, 1, len(TASKS))
    answers = RankingLabels(label_NMT, torch.ones_like(label_NMT))
    targets = Targets(every_B.repeat_interleave(LENGTH), order_BL.flatten(),
                      item_BL[:, 1:].flatten(), asked, answers)  # fmt: skip
    return batch, targets


def trained(kind, name, steps=60):
    """Return a model with the component after some steps, and its losses."""
    torch.manual_seed(0)
    model = SequenceModel(replace(SHAPE, **{kind: component(kind, name)}), CODES_VC, WARM_V)
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=0.01), []
    batch, targets = planted()
    warm_W = torch.arange(1, ITEMS - 1)
    trie = item_trie(CODES_VC, warm_W) if model.decoder else None
    for _ in range(steps):
        loss = batch_loss(model.train(), [Lesson(0, batch, targets)], warm_W, PARAMS, trie)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model.eval(), losses


def said(model):
    """Return the states of the planted sequences and the logits of their slates."""
    batch, targets = planted()
    with torch.no_grad():
        item_VD = model.items()
        seen = model.encode(batch, item_VD)
        return seen.state_BLD, model.logits(batch, targets.asked, seen, item_VD)


@every
def test_a_model_with_it_learns_and_says_what_comes_next(kind, name):
    model, losses = trained(kind, name)
    assert losses[-1] < 0.5 * losses[0]
    _, logit_NMT = said(model)
    assert (logit_NMT[..., CLICK].argmax(1) == 0).float().mean() > 0.9


@every
def test_gradients_reach_all_that_it_learns(kind, name):
    model, _ = trained(kind, name, steps=2)
    for part in filter(None, (model.item_input, model.rank.net, model.state_part, model.decoder)):
        for weight, value in part.named_parameters():
            assert value.grad.isfinite().all(), weight
            assert value.grad.any(), weight


@every
def test_the_same_seed_gives_the_same_weights(kind, name):
    one, other = (trained(kind, name, steps=5)[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[weight], other[weight]) for weight in one)


@every
def test_a_model_with_it_survives_the_disk(kind, name, tmp_path):
    model, _ = trained(kind, name, steps=5)
    save_model(model, ["x"] * (ITEMS - 1), tmp_path)
    again, _ = load_model(tmp_path)
    assert again.shape == model.shape
    assert all(torch.equal(*pair) for pair in zip(said(again), said(model), strict=True))


# Item inputs.


def items_of(module, item_VD, codes_VC=CODES_VC, warm_V=WARM_V):
    with torch.no_grad():
        return module(item_VD, codes_VC, warm_V)


@pytest.fixture
def item_VD(rng):
    return torch.from_numpy(rng.standard_normal((ITEMS, WIDTH))).float()


@item_inputs
def test_the_vector_of_an_item_depends_on_no_other_item(name, item_VD):
    module = stirred(component("item_input", name).build(WIDTH))
    found_VD = items_of(module, item_VD)
    changed_VD, codes_VC = item_VD.clone(), CODES_VC.clone()
    changed_VD[3] += 1.0
    codes_VC[3] = 0
    other_VD = items_of(module, changed_VD, codes_VC)
    assert found_VD.shape == item_VD.shape
    assert not torch.allclose(other_VD[3], found_VD[3])
    kept_V = torch.arange(ITEMS) != 3
    assert torch.equal(other_VD[kept_V], found_VD[kept_V])


@item_inputs
def test_what_nobody_learnt_of_an_unseen_item_says_nothing(name, item_VD):
    module = stirred(component("item_input", name).build(WIDTH))
    changed_VD = item_VD.clone()
    changed_VD[~WARM_V] += 1.0
    assert torch.equal(items_of(module, changed_VD), items_of(module, item_VD))


# State parts.


def view_of(second_BL, real_BL=None):
    length = second_BL.shape[1]
    real_BL = torch.ones_like(second_BL).bool() if real_BL is None else real_BL
    order_BL = torch.arange(length).expand_as(second_BL)
    request_BL = torch.cat([second_BL[:, 1:], second_BL[:, -1:] + 50], 1)
    return View(
        order_BL.masked_fill(~real_BL, length), second_BL, request_BL, real_BL[..., None].float()
    )


@pytest.fixture
def x_BLD(rng):
    return torch.from_numpy(rng.standard_normal((2, LENGTH, WIDTH))).float()


SECONDS = torch.tensor([[0, 60, 3600, 7200, 90_000, 400_000]]).repeat(2, 1)


def part_of(name, x_BLD, second_BL=SECONDS, real_BL=None):
    module = stirred(component("state_part", name).build(WIDTH, 0.0))
    with torch.no_grad():
        return module(x_BLD, view_of(second_BL, real_BL))


@state_parts
def test_it_begins_as_the_identity(name, x_BLD):
    module = component("state_part", name).build(WIDTH, 0.5).eval()
    assert torch.equal(module(x_BLD, view_of(SECONDS)), x_BLD)


@state_parts
def test_the_future_changes_no_output_before_it(name, x_BLD):
    found_BLD = part_of(name, x_BLD)
    later_BLD, second_BL = x_BLD.clone(), SECONDS.clone()
    later_BLD[:, 4:] += 1.0
    second_BL[:, 5] += 10**6
    other_BLD = part_of(name, later_BLD, second_BL)
    assert torch.equal(other_BLD[:, :4], found_BLD[:, :4])
    assert not torch.allclose(other_BLD[:, 4:], found_BLD[:, 4:])
    assert not torch.allclose(found_BLD, x_BLD), "or it does nothing at all"


@state_parts
def test_padding_changes_no_output_of_an_event(name, x_BLD):
    short_BLD = part_of(name, x_BLD[:, :4], SECONDS[:, :4])
    real_BL = torch.arange(LENGTH).expand(2, -1) < 4
    second_BL = SECONDS.clone()
    second_BL[:, 4:] = second_BL[:, 3:4] + 50
    padded_BLD = part_of(name, x_BLD, second_BL, real_BL)
    torch.testing.assert_close(padded_BLD[:, :4], short_BLD, atol=1e-6, rtol=0)


# Rank nets.


@rank_nets
def test_candidates_do_not_know_of_each_other(name, rng):
    module = stirred(component("rank_net", name).build(INPUTS, len(TASKS)))
    input_NMI = torch.from_numpy(rng.standard_normal((4, 3, INPUTS))).float()
    with torch.no_grad():
        logit_NMT = module(input_NMI)
        alone_NMT = torch.cat([module(input_NMI[:, m : m + 1]) for m in range(3)], 1)
    assert logit_NMT.shape == (4, 3, len(TASKS))
    torch.testing.assert_close(logit_NMT, alone_NMT, atol=1e-5, rtol=0)
    assert logit_NMT.std(0).min() > 0, "or it says the same of all"


@rank_nets
def test_its_cost_is_that_of_its_matrix_products(name):
    made = component("rank_net", name)
    module = made.build(INPUTS, len(TASKS))
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        module(torch.zeros(2, 5, INPUTS))
    assert counted.get_total_flops() == 10 * made.flops(INPUTS, len(TASKS))


# Rank objectives.


@pytest.fixture
def slates(rng):
    """Return logits of eight slates of five and their answers, a quarter of them unknown."""
    logit, label, known = rng.standard_normal((3, 8, 5, len(TASKS)))
    return torch.from_numpy(logit), RankingLabels(
        torch.from_numpy(label > 0.5).double(), torch.from_numpy(known > -0.7).double()
    )


def part(answers, rows):
    return RankingLabels(answers.label_NMT[rows], answers.weight_NMT[rows])


@rank_objectives
def test_an_answer_that_nobody_knows_teaches_nothing(name, slates):
    objective, (logit_NMT, answers) = component("rank_objective", name), slates
    unknown_NMT = answers.weight_NMT == 0
    other = replace(
        answers, label_NMT=torch.where(unknown_NMT, 1 - answers.label_NMT, answers.label_NMT)
    )
    loss = objective(logit_NMT.requires_grad_(), answers)
    loss.backward()
    assert objective(logit_NMT, other) == loss > 0
    assert not logit_NMT.grad[unknown_NMT].any()
    assert logit_NMT.grad[~unknown_NMT].any()
    assert objective(logit_NMT, replace(answers, weight_NMT=0 * answers.weight_NMT)) == 0


@rank_objectives
def test_the_losses_of_the_parts_add_up_to_that_of_the_whole(name, slates):
    objective, (logit_NMT, answers) = component("rank_objective", name), slates
    total_T = answers.weight_NMT.sum((0, 1))
    losses = [
        objective(logit_NMT[rows], part(answers, rows), total_T)
        for rows in (slice(0, 3), slice(3, 8))
    ]
    torch.testing.assert_close(sum(losses), objective(logit_NMT, answers))


def descended(objective, logit, answers, of):
    optimizer = torch.optim.Adam([logit.requires_grad_()], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        objective(of(logit), answers).backward()
        optimizer.step()
    return logit.detach()


@rank_objectives
def test_it_puts_what_was_answered_above_the_rest(name, slates):
    objective, (logit_NMT, answers) = component("rank_objective", name), slates
    found_NMT = descended(objective, logit_NMT.clone(), answers, lambda logit: logit)
    known_NMT, is_answered_NMT = answers.weight_NMT > 0, answers.label_NMT > 0
    assert found_NMT[known_NMT & is_answered_NMT].min() > found_NMT[
        known_NMT & ~is_answered_NMT
    ].max()  # fmt: skip


@rank_objectives
def test_its_logits_are_log_odds(name):
    """Where nothing tells candidates apart, three answers in ten are a chance of .3."""
    label_NMT = (torch.arange(10) < 3).double()[:, None, None].repeat(1, 1, len(TASKS))
    answers = RankingLabels(label_NMT, torch.ones_like(label_NMT))
    one_T = torch.zeros(len(TASKS), dtype=torch.float64)
    found_T = descended(
        component("rank_objective", name), one_T, answers, lambda logit_T: logit_T + 0 * label_NMT
    )
    torch.testing.assert_close(found_T.sigmoid(), torch.full_like(found_T, 0.3), atol=0.01, rtol=0)
