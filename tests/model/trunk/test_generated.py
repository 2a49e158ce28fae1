"""Legend: Q people who are asked, V items with padding first."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from tessera.contracts.errors import BadParams
from tessera.contracts.split import TEST
from tessera.contracts.tables import GENERATIVE, TRUNK
from tessera.model.nn.level_nets import LevelNetSettings
from tessera.model.params import HstuParams
from tessera.model.training.fit import fit
from tessera.model.trunk.generated import generate, sources
from tessera.model.trunk.inference import trunk_states
from tessera.model.trunk.model import SequenceModel, Shape
from tessera.model.trunk.saved import load_model, save_model

SHAPE = Shape("hstu", 8, 1, 1, 6, 0.0, 0.0, True, True, True, 13, (3, 4))
CODES_VC = torch.tensor([(0, 0)] + [(1 + k // 6, 1 + k % 3) for k in range(12)])
WARM_V = torch.arange(13) > 0


def build(shape):
    torch.manual_seed(0)
    return SequenceModel(shape, CODES_VC, WARM_V)


@pytest.fixture
def generating(small):
    return small.model_copy(update={"generate": True, "mask_weight": 0.0})


@pytest.fixture
def trained(world, generating):
    return fit("hstu", world, generating, None).model


def found(model, world, params, **changes):
    asked = replace(world.ask(TEST, params), **changes)
    state_QD = trunk_states(model, world.histories, asked.windows)
    return asked, generate(model, model.decoder, asked, state_QD, params)


def test_a_head_changes_nothing_of_what_the_rest_starts_as():
    plain, more = build(SHAPE), build(replace(SHAPE, generative_head=LevelNetSettings(4)))
    assert plain.decoder is None
    assert not any("decoder" in name for name in plain.state_dict())
    for name, weight in plain.state_dict().items():
        assert torch.equal(weight, more.state_dict()[name])


def test_what_decodes_is_the_codebook_that_items_are_read_with(trained, tmp_path):
    save_model(trained, ["x"] * 12, tmp_path)
    for model in (trained, deepcopy(trained), *(load_model(tmp_path, mapped=m)[0] for m in (0, 1))):
        tables = dict(model.item_input.named_parameters())
        assert len(model.codebook()) == len(tables) == 2
        for level, codeword_KD in enumerate(model.codebook()):
            assert codeword_KD is tables[str(level)]
        assert not {id(one) for one in model.codebook()} & set(map(id, model.decoder.parameters()))


def test_a_saved_model_decodes_the_same(world, trained, generating, tmp_path):
    save_model(trained, world.catalogue.vocabulary, tmp_path)
    again, _ = load_model(tmp_path)
    assert again.shape == trained.shape
    one, other = (found(model, world, generating)[1] for model in (trained.eval(), again))
    assert np.array_equal(one.item_UK, other.item_UK)
    assert np.array_equal(one.score_UK, other.score_UK)


def test_soft_forcing_learns_other_weights_and_decodes_as_ever(
    world, trained, generating, tmp_path
):
    soft = generating.model_copy(update={"soft_forcing": 1.0})
    model, again = (fit("hstu", world, soft, None).model for _ in range(2))
    weights, plain = model.state_dict(), trained.state_dict()
    assert weights.keys() == plain.keys(), "nothing more is saved"
    assert any(not torch.equal(one, plain[name]) for name, one in weights.items())
    assert all(torch.equal(one, again.state_dict()[name]) for name, one in weights.items())
    save_model(model, world.catalogue.vocabulary, tmp_path)
    opened, _ = load_model(tmp_path)
    one, other = (found(part.eval(), world, generating)[1] for part in (model, opened))
    assert np.array_equal(one.item_UK, other.item_UK)


def test_the_next_item_of_the_ring_is_decoded(world, generating):
    """Nine times of ten it follows the last one; two items share each code."""
    model = fit("hstu", world, generating.model_copy(update={"epochs": 8}), None).model
    asked, lists = found(model.eval(), world, generating)
    last_Q = world.histories.item_E[asked.windows.stop_W - 1] - 1
    next_Q = 1 + 6 * (last_Q // 6) + (last_Q % 6 + 1) % 6
    is_open_Q = asked.allowed_V[next_Q]
    assert is_open_Q.sum() > 10
    assert (lists.item_UK[:, 0] == next_Q)[is_open_Q].mean() > 0.9


def test_nobody_is_listed_what_is_held_or_may_not_be_listed(world, trained, generating):
    holding = generating.model_copy(update={"filter_seen": True, "top": 12, "beams": 12})
    asked, lists = found(trained.eval(), world, holding)
    held = set(zip(*(rows.tolist() for rows in asked.seen), strict=True))
    for row, (item_K, score_K) in enumerate(zip(lists.item_UK, lists.score_UK, strict=True)):
        listed = item_K[np.isfinite(score_K)].tolist()
        may = {item for item in np.flatnonzero(asked.allowed_V) if (row, item) not in held}
        assert set(listed) == may
        assert len(listed) == len(may)
    assert held
    assert 12 not in lists.item_UK, "it was deleted before the cut"


def test_what_one_has_or_may_not_be_listed_changes_no_chance_of_the_others(
    world, trained, generating
):
    params = generating.model_copy(update={"top": 12})
    asked, lists = found(trained.eval(), world, params)
    allowed_V = asked.allowed_V & (np.arange(13) % 2 == 1)
    _, fewer = found(trained, world, params, allowed_V=allowed_V)
    for row in range(len(lists.item_UK)):
        chance = dict(zip(lists.item_UK[row].tolist(), lists.score_UK[row], strict=True))
        for item, score in zip(fewer.item_UK[row].tolist(), fewer.score_UK[row], strict=True):
            assert not np.isfinite(score) or (
                item % 2 == 1 and chance[item] == pytest.approx(score)
            )


def test_all_closed_and_nobody_asking_are_empty_lists(world, trained, generating):
    _, lists = found(trained.eval(), world, generating, allowed_V=np.zeros(13, bool))
    assert not np.isfinite(lists.score_UK).any()
    nobody = world.ask(TEST, generating).take(np.zeros(0, np.int64))
    none = generate(trained, trained.decoder, nobody, np.zeros((0, 16), np.float32), generating)
    assert none.item_UK.shape == (0, 5)


def test_an_item_that_nobody_saw_is_found_by_its_code(world, trained, generating):
    """The twelfth item is new: its code says that it is like the ninth."""
    model = trained.eval()
    model.warm_V[12] = False
    allowed_V = np.arange(13) > 0
    _, lists = found(model, world, generating, allowed_V=allowed_V)
    assert (lists.item_UK == 12).any()
    rank_of = {item: (lists.item_UK == item).any(1) for item in (9, 12)}
    assert (rank_of[12] & rank_of[9]).sum() > 0.5 * rank_of[9].sum()


def test_the_code_of_an_item_that_nobody_saw_changes_no_weight(logged_world, tables, generating):
    tables.events = tables.events.filter(tables.events.item_id != "i03")
    seen = logged_world(tables)
    codes_VC, once = seen.codes_VC.clone(), generating.model_copy(update={"epochs": 1})
    codes_VC[4] = torch.tensor([2, 1])
    weights = [
        dict(fit("hstu", replace(seen, codes_VC=codes), once, None).model.named_parameters())
        for codes in (seen.codes_VC, codes_VC)
    ]
    assert not torch.equal(codes_VC, seen.codes_VC)
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name]), name


def test_two_lists_stand_beside_that_of_the_model(run_trunk, tables, generating):
    folder, _ = run_trunk(tables, generating)
    lists = pq.read_table(folder / "lists.parquet").to_pylist()
    users = {}
    for row in lists:
        users.setdefault(row["model"], set()).add(row["user_id"])
    names = ["hstu", "hstu_generative", "hstu_trunk", "hstu_session"]
    assert list(users) == names
    assert users["hstu"] == users["hstu_generative"] == users["hstu_trunk"]
    decoded = [row["score"] for row in lists if row["model"] == "hstu_generative"]
    assert max(decoded) < 0, "log probabilities"


def test_more_beams_never_lose_a_likelier_item(world, trained, generating):
    narrow, wide = (
        found(trained.eval(), world, generating.model_copy(update={"beams": beams, "top": 3}))[1]
        for beams in (3, 12)
    )
    assert (wide.score_UK >= narrow.score_UK - 1e-6).all()


def test_the_weight_of_its_loss_counts(world, generating):
    weights = [
        fit("hstu", world, generating.model_copy(update={"generate_weight": weight}), None)
        for weight in (0.01, 10.0)
    ]
    assert weights[0].state.losses[0] + 1 < weights[1].state.losses[0]


def test_codes_are_needed(world, generating):
    without = replace(world, codes_VC=torch.empty(13, 0, dtype=torch.long))
    with pytest.raises(BadParams, match="set hstu.use_codes to true"):
        fit("hstu", without, generating, None)


def test_a_weight_of_nothing_is_refused():
    with pytest.raises(ValidationError, match="generate_weight"):
        HstuParams(generate=True, generate_weight=0.0)


def test_both_lists_are_made_by_the_same_trunk(world, trained, generating):
    asked = world.ask(TEST, generating)
    state_QD = trunk_states(trained.eval(), world.histories, asked.windows)
    lists = sources(trained, trained.decoder, asked, state_QD, generating)
    assert list(lists) == [GENERATIVE, TRUNK]
    decoded = generate(trained, trained.decoder, asked, state_QD, generating)
    assert np.array_equal(lists[GENERATIVE].item_UK, decoded.item_UK)
    item_VD = trained.items().detach().numpy()
    unit_VD = item_VD / np.linalg.norm(item_VD, axis=1, keepdims=True)
    cosine_QK = np.einsum("qd,qkd->qk", state_QD, unit_VD[lists[TRUNK].item_UK])
    is_listed_QK = np.isfinite(lists[TRUNK].score_UK)
    np.testing.assert_allclose(
        lists[TRUNK].score_UK[is_listed_QK], cosine_QK[is_listed_QK], atol=1e-5
    )
